"""HEALTHCHECK: true only when the configured sites are really served. Standard library only, to be quick."""

from __future__ import annotations

import os
import re
import socket
import sys

from gateway.paths import NGINX_CONF, NGINX_SOCKET

TIMEOUT_S = 3.0


def answer(address: tuple[str, int] | str, host: str, path: str) -> bytes:
    """The raw HTTP answer; empty when nothing answers."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as peer:
        peer.settimeout(TIMEOUT_S)
        peer.connect(address)
        peer.sendall(f"HEAD {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        return peer.recv(64)


def problems(conf: str) -> list[str]:
    """What is not served as the rendered file says."""
    found = []
    sites = re.findall(r"listen (\d+);\n    server_name ([^;]+);", conf)
    for port, names in sites:
        host = names.split()[0].replace("*", "www")
        if not answer(("127.0.0.1", int(port)), host, "/").startswith(b"HTTP/"):
            found.append(f"{host} is not answered on port {port}")
    if not answer(NGINX_SOCKET, "gateway", "/generation").startswith(b"HTTP/1.1 200"):
        found.append("nginx does not answer on its internal socket")
    return found


def main() -> None:
    try:
        with open(NGINX_CONF) as file:  # noqa: PTH123
            found = problems(file.read())
    except OSError as error:
        found = [str(error)]
    if found:
        print("; ".join(found))
        sys.stdout.flush()
    os._exit(1 if found else 0)  # no clean-up to wait for


if __name__ == "__main__":
    main()
