"""HEALTHCHECK: true only when the configured sites are really served. Standard library only, to be quick."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from gateway.adapters.ask import answer
from gateway.adapters.master import NginxMaster
from gateway.paths import CONF_DIR, NGINX_SOCKET, OUT_OF_SERVICE, ROUTING_DIR


def problems(live: Path) -> list[str]:
    """What is not served as the live generation says. Sends no request to the applications."""
    found = []
    away = Path(ROUTING_DIR, OUT_OF_SERVICE)
    if away.exists():
        found.append(f"out of service: {away.read_text().strip()}")
    generation = live.readlink().name
    if NginxMaster().generation() != generation:
        found.append(f"nginx does not run generation {generation}")
    # A quarantined site may have no upstreams: it answers 503, and has no routing.
    served = [file for file in (live / "sites").iterdir() if "\nupstream " in file.read_text()]
    for name in sorted(file.stem for file in served):
        if not answer(NGINX_SOCKET, "gateway", f"/serving/{name}").startswith(b"HTTP/1.1 200"):
            found.append(f"nginx does not serve {name}")
    for port, tls in re.findall(r"listen (\d+) (ssl )?default_server", (live / "http.conf").read_text()):
        # An unknown host is hung up on (444), and one that speaks no TLS where it must is told so: a worker
        # took the connection and read the request.
        said = answer(("127.0.0.1", int(port)), "gateway.invalid", "/")
        if said if not tls else b"sent to HTTPS port" not in said:
            found.append(f"port {port} is answered by something else")
    return found


def main() -> None:
    try:
        found = problems(Path(CONF_DIR, "live"))
    except OSError as error:
        found = [str(error)]
    if found:
        print("; ".join(found))
        sys.stdout.flush()
    os._exit(1 if found else 0)  # no clean-up to wait for


if __name__ == "__main__":
    main()
