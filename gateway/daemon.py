"""The process beside nginx: resumes what was begun, then serves the API on a unix socket."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from pathlib import Path

import uvicorn

from gateway.agent import live
from gateway.api import create_app, create_metrics_app
from gateway.directory import Directory
from gateway.errors import Failed, GatewayError
from gateway.metrics import Metrics
from gateway.paths import CONTROLLER_SOCKET as SOCKET
from gateway.settings.parsing import at_start
from gateway.wiring import build

# Connections to the port of the metrics; one more is answered 503.
SCRAPERS = 16


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="gateway: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = at_start(os.environ)
        lock = _only_one(Path(settings.state_dir))
        # The sites are the agent's to say; which of them wait for a deployment is the controller's.
        directory = Directory(lambda: agent.roster, lambda site: agent.forget(site))
        gateway = build(settings, directory)
        agent = live.reconciler(os.environ, settings, waiting=gateway.journal.in_progress)
    except GatewayError as error:
        sys.exit(f"gateway: {error}")
    agent.reconcile()
    gateway.controller.resume()
    live.watch(settings, agent)
    if port := settings.metrics_port:
        threading.Thread(target=_serve_metrics, args=(gateway.metrics, port), daemon=True).start()
    Path(SOCKET).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(SOCKET).unlink(missing_ok=True)
    uvicorn.run(
        create_app(gateway.controller, gateway.views, gateway.metrics),
        uds=SOCKET,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    os.close(lock)


def _serve_metrics(metrics: Metrics, port: int) -> None:
    """For ever. A port that is taken ends this thread, with a line in the log; deploys go on."""
    metrics.look()  # the first look at a thousand certificates takes seconds, later ones do not
    uvicorn.run(
        create_metrics_app(metrics),
        host="",  # every address, of IPv6 too
        port=port,
        log_level="warning",
        access_log=False,
        limit_concurrency=SCRAPERS,
    )


def _only_one(state_dir: Path) -> int:
    """Hold the journal's lock for as long as we live; the kernel frees it. Raises Failed."""
    state_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(state_dir / "controller.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Failed(f"another gateway uses {state_dir}: give each its own volume") from error
    return lock


if __name__ == "__main__":
    main()
