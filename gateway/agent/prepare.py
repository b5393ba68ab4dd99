"""Before nginx starts: settings -> configuration -> `nginx -t`, and the last routing published."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from gateway.adapters.configuration import ConfigurationFiles, nginx_test
from gateway.adapters.render import Place, render
from gateway.adapters.routing import RoutingFiles
from gateway.errors import GatewayError
from gateway.paths import ROUTING_DIR, RUN_DIR
from gateway.settings import Settings, parse


def main() -> None:
    """Exit code 2 with every problem on stderr when the configuration is wrong."""
    try:
        prepare(parse(os.environ))
    except GatewayError as error:
        for line in str(error).splitlines():
            print(f"gateway: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def prepare(settings: Settings) -> None:
    """Everything that nginx needs at its first connection. Raises Failed."""
    Path(RUN_DIR).mkdir(parents=True, exist_ok=True)
    # Its sockets are for root and nginx's workers alone; nginx itself makes them 0666.
    shutil.chown(RUN_DIR, "root", "nginx")
    Path(RUN_DIR).chmod(0o750)
    # nginx does not start over a socket that a killed predecessor left.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)
    RoutingFiles(ROUTING_DIR, settings.state_dir).restore(settings.sites)
    rendered = render(settings.sites, Place(http_port=settings.http_port))
    files = ConfigurationFiles()
    files.write(rendered)
    files.show(rendered.generation)
    files.forget_others(rendered.generation)
    nginx_test()
    # `nginx -t` opens the sockets to test them and leaves the file behind.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
