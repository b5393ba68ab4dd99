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
    """What is not served as the rendered file says. Sends no request to the applications."""
    found = []
    for name in re.findall(r"location = /serving/(\S+) ", conf):
        if not answer(NGINX_SOCKET, "gateway", f"/serving/{name}").startswith(b"HTTP/1.1 200"):
            found.append(f"nginx does not serve {name}")
    for port in set(re.findall(r"listen (\d+)", conf)):
        # An unknown host is hung up on (444): a worker took the connection and read the request.
        if answer(("127.0.0.1", int(port)), "gateway.invalid", "/") != b"":
            found.append(f"port {port} is answered by something else")
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
