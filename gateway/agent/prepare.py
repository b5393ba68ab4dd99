"""Before nginx starts: settings -> configuration that nginx takes, and the last routing published."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from gateway.agent.live import reconciler
from gateway.errors import GatewayError
from gateway.paths import RUN_DIR
from gateway.settings.parsing import at_start
from gateway.wiring import routing_files


def main() -> None:
    """Exit code 2 with every problem on stderr when the environment is wrong. A site's file never is."""
    logging.basicConfig(level=logging.INFO, format="gateway: %(message)s", stream=sys.stderr)
    try:
        prepare()
    except GatewayError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def prepare() -> None:
    """Everything that nginx needs at its first connection. Raises SettingsInvalid, Failed."""
    Path(RUN_DIR).mkdir(parents=True, exist_ok=True)
    # Its sockets are for us and nginx's workers alone; nginx itself makes them 0666.
    if os.geteuid() == 0:
        shutil.chown(RUN_DIR, "root", "nginx")
    Path(RUN_DIR).chmod(0o750)
    # nginx does not start over a socket that a killed predecessor left.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)
    settings = at_start(os.environ)
    routing = routing_files(settings)
    if settings.is_of_a_fleet:  # what it knew may be out of date: nobody is served before it knows better
        routing.leave_service("it has no lease yet")
    reconciler(os.environ, settings, routing).prepare()


if __name__ == "__main__":
    main()
