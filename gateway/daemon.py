"""The process beside nginx, or instead of it: the agent, the controller, or both (GATEWAY_ROLE)."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from gateway.adapters.remote import KnownRoster
from gateway.adapters.token import read_token
from gateway.adapters.waiting import WaitingFile
from gateway.agent import live
from gateway.agent.api import Agent
from gateway.agent.api import create_app as create_agent_app
from gateway.api import create_app, create_metrics_app
from gateway.controller import Controller
from gateway.core.roster import Roster
from gateway.directory import Directory
from gateway.errors import Failed, GatewayError
from gateway.metrics import Metrics
from gateway.paths import CONTROLLER_SOCKET as SOCKET
from gateway.settings import Settings
from gateway.settings.parsing import at_start
from gateway.wiring import Gateway, build, journal_of, local_plane, remote_agent, routing_files

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
        {"gateway": run_agent, "controller": run_controller}.get(settings.role, run_both)(settings)
    except GatewayError as error:
        sys.exit(f"gateway: {error}")
    os.close(lock)


def run_both(settings: Settings) -> None:
    journal = journal_of(settings)
    agent = live.reconciler(os.environ, settings, waiting=journal.in_progress)
    # The sites are the agent's to say; which of them wait for a deployment is the controller's.
    directory = Directory(lambda: agent.roster, agent.forget)
    files = routing_files(settings)
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
    agent = live.reconciler(os.environ, settings, waiting=waiting)

    def roster(names: Collection[str]) -> Roster:
        return agent.reconcile() if waiting.told(names) else agent.roster

    files = routing_files(settings)
    plane = local_plane(files, settings)
    live.hold(files, agent, plane.proxy)
    agent.reconcile()
    live.watch(settings, agent)
    asked = Agent(plane, roster, agent.forget)
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


def _exchange(known: KnownRoster, controller: Controller) -> None:
    """For ever: go on with what was in progress once the agent answers, then keep both informed."""
    resumed, said = False, ""
    while True:
        try:
            known.ask()
            if not resumed:
                controller.resume()
            resumed, problem = True, ""
        except Exception as error:  # whatever it is, the next look may find it mended
            problem = str(error) if isinstance(error, GatewayError) else repr(error)
        if problem != said:
            log.warning("%s", problem or "the agent answers again")
        said = problem
        time.sleep(EXCHANGE_S)


def _serve_people(gateway: Gateway, settings: Settings) -> None:
    """The API behind the command line, and the metrics where they have a port."""
    if port := settings.metrics_port:
        threading.Thread(target=_serve_metrics, args=(gateway.metrics, port), daemon=True).start()
    Path(SOCKET).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(SOCKET).unlink(missing_ok=True)
    _serve(create_app(gateway.controller, gateway.views, gateway.metrics), uds=SOCKET)


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
