"""Before nginx starts: settings -> configuration -> `nginx -t`, and the last routing published."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gateway.adapters.render import render
from gateway.adapters.routing import RoutingFiles
from gateway.errors import Failed, GatewayError
from gateway.paths import NGINX_CONF, NGINX_MAIN_CONF, ROUTING_DIR, RUN_DIR
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
    generation = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    text = render(settings.sites, generation=generation, http_port=settings.http_port)
    _write(NGINX_CONF, text)
    # A worker that a reload replaces lives for as long as its last connection, unless told otherwise.
    patience_s = max(site.drain_timeout_s for site in settings.sites) + 5
    main = f"worker_shutdown_timeout {patience_s:.0f}s;\nworking_directory {ROUTING_DIR};\n"
    _write(NGINX_MAIN_CONF, main)
    done = subprocess.run(["nginx", "-t", "-q"], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise Failed(f"nginx refuses the configuration: {done.stderr.strip()}")
    # `nginx -t` opens the sockets to test them and leaves the file behind.
    Path(RUN_DIR, "nginx.sock").unlink(missing_ok=True)


def _write(path: str, text: str) -> None:
    """Whole or not at all. nginx includes *.conf only, so a left-over .new does no harm."""
    new = Path(f"{path}.new")
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    main()
