"""The process beside nginx, or instead of it: the agent, the controller, or both (GATEWAY_ROLE)."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from gateway.adapters.fleet_proxy import FleetProxy
from gateway.adapters.leadership import Leadership, lead_for_ever
from gateway.adapters.remote import KnownRoster
from gateway.adapters.token import read_token
from gateway.adapters.waiting import WaitingFile
from gateway.agent import live
from gateway.agent.api import Agent
from gateway.agent.api import create_app as create_agent_app
from gateway.api import create_app, create_metrics_app, create_standby_app
from gateway.controller import Controller
from gateway.core.roster import Roster
from gateway.directory import Directory
from gateway.errors import Failed, GatewayError
from gateway.metrics import Metrics
from gateway.paths import CONTROLLER_SOCKET as SOCKET
from gateway.settings import Settings
from gateway.settings.parsing import at_start
from gateway.wiring import (
    Gateway,
    build,
    fleet_of,
    journal_of,
    leadership_of,
    local_plane,
    remote_agent,
    routing_files,
    shared_journal,
)

log = logging.getLogger("gateway")
# How often the controller tells the agent which sites wait, and hears which sites there are.
EXCHANGE_S = 1.0
# Connections to the port of the metrics; one more is answered 503.
SCRAPERS = 16


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="gateway: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = at_start(os.environ)
        lock = _only_one(Path(settings.state_dir))
        one = run_one_of_many if settings.engine == "swarm" else run_controller
        {"gateway": run_agent, "controller": one}.get(settings.role, run_both)(settings)
    except GatewayError as error:
        sys.exit(f"gateway: {error}")
    os.close(lock)


def run_both(settings: Settings) -> None:
    journal = journal_of(settings)
    files = routing_files(settings)
    agent = live.reconciler(os.environ, settings, files, waiting=journal.in_progress)
    # The sites are the agent's to say; which of them wait for a deployment is the controller's.
    directory = Directory(lambda: agent.roster, agent.forget)
    plane = local_plane(files, settings)
    gateway = build(settings, directory, journal=journal, plane=plane)
    live.hold(files, agent, plane.proxy)
    agent.reconcile()
    gateway.controller.resume()
    live.watch(settings, agent)
    _serve_people(gateway, settings)


def run_agent(settings: Settings) -> None:
    """Beside nginx, without Docker: a controller elsewhere orders."""
    token, waiting = read_token(settings.token_file), WaitingFile(settings.state_dir)
    files = routing_files(settings)
    agent = live.reconciler(os.environ, settings, files, waiting=waiting)

    def roster(names: Collection[str]) -> Roster:
        return agent.reconcile() if waiting.told(names) else agent.roster

    plane = local_plane(files, settings)
    live.hold(files, agent, plane.proxy)
    agent.reconcile()
    live.watch(settings, agent)
    member = live.member(settings, files, plane.proxy) if settings.is_of_a_fleet else None
    asked = Agent(plane, roster, agent.forget, member)
    host, port = settings.agent
    _serve(create_agent_app(asked, token), host=host, port=port)


def run_controller(settings: Settings) -> None:
    """Beside no nginx: the agent of another container is asked and ordered."""
    journal, remote = journal_of(settings), remote_agent(settings)
    known = KnownRoster(remote, journal.in_progress)
    directory = Directory(known.look, known.forget)
    gateway = build(settings, directory, journal=journal, plane=remote.plane)
    threading.Thread(target=_exchange, args=(known, gateway.controller), daemon=True).start()
    _serve_people(gateway, settings)


def run_one_of_many(settings: Settings) -> None:
    """On a manager of a Swarm: waits until it leads all gateways, and ends when it does no more."""
    # The server raises the signal again that ended it; without a handler that would be our end, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    leadership = leadership_of(settings)
    term = _until_it_leads(leadership)
    log.info("leads, in term %s", term)
    threading.Thread(target=lead_for_ever, args=(leadership, _end), daemon=True).start()
    journal, fleet = shared_journal(leadership), fleet_of(settings, term)
    proxy = FleetProxy(fleet)
    known = KnownRoster(proxy, journal.in_progress)
    directory = Directory(known.look, known.forget)
    gateway = build(settings, directory, journal=journal, plane=proxy.plane)
    # Apart: a gateway that has much to do answers late, and the others need their leases.
    threading.Thread(target=_repeat, args=(fleet.look,), daemon=True).start()
    threading.Thread(target=_exchange, args=(known, gateway.controller), daemon=True).start()
    try:
        _serve_people(gateway, settings)
    finally:
        leadership.hand_over()


def _until_it_leads(leadership: Leadership) -> int:
    """Whoever asks meanwhile is told who leads."""
    said = "none does yet: try again"
    app = create_standby_app(lambda: said)
    server = uvicorn.Server(uvicorn.Config(app, uds=_socket(), log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while True:
        try:
            term = leadership.seek()
            now = f"the one on {leadership.leader} does: ask there" if leadership.leader else said
        except GatewayError as error:
            term, now = None, str(error)
        if term is not None:
            break
        if now != said:
            log.info("does not lead; %s", now)
        said = now
        time.sleep(EXCHANGE_S)
    server.should_exit = True
    thread.join()
    return term


def _end() -> None:
    """Another may lead already: nothing more is done, not even what was begun."""
    log.error("leads no more")
    os._exit(1)


def _repeat(look: Callable[[], None]) -> None:
    """For ever."""
    said = ""
    while True:
        try:
            look()
            problem = ""
        except Exception as error:  # whatever it is, the next look may find it mended
            problem = str(error) if isinstance(error, GatewayError) else repr(error)
        if problem != said:
            log.warning("%s", problem or "that is over")
        said = problem
        time.sleep(EXCHANGE_S)


def _exchange(known: KnownRoster, controller: Controller) -> None:
    """For ever: go on with what was in progress once the agent answers, then keep both informed."""
    resumed = False

    def exchange() -> None:
        nonlocal resumed
        known.ask()
        if not resumed:
            controller.resume()
        resumed = True

    _repeat(exchange)


def _serve_people(gateway: Gateway, settings: Settings) -> None:
    """The API behind the command line, and the metrics where they have a port."""
    if port := settings.metrics_port:
        threading.Thread(target=_serve_metrics, args=(gateway.metrics, port), daemon=True).start()
    _serve(create_app(gateway.controller, gateway.views, gateway.metrics), uds=_socket())


def _socket() -> str:
    """Where people reach us; what one before us left there is gone."""
    Path(SOCKET).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(SOCKET).unlink(missing_ok=True)
    return SOCKET


def _serve_metrics(metrics: Metrics, port: int) -> None:
    """For ever. A port that is taken ends this thread, with a line in the log; deploys go on."""
    metrics.look()  # the first look at a thousand certificates takes seconds, later ones do not
    # Every address, of IPv6 too.
    _serve(create_metrics_app(metrics), host="", port=port, limit_concurrency=SCRAPERS)


def _serve(app: Starlette, **where: Any) -> None:
    uvicorn.run(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, **where)


def _only_one(state_dir: Path) -> int:
    """Hold the state's lock for as long as we live; the kernel frees it. Raises Failed."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(state_dir / "controller.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise Failed(
            f"{state_dir} can't be written ({error.strerror}): its volume must belong to the user"
            f" {os.geteuid()} that the gateway runs as"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Failed(f"another gateway uses {state_dir}: give each its own volume") from error
    return lock


if __name__ == "__main__":
    main()
