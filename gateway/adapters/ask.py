"""One question over HTTP/1.0 on a socket of its own. Standard library only, to be quick."""

from __future__ import annotations

import socket

TIMEOUT_S = 3.0


def answer(address: tuple[str, int] | str, host: str, path: str) -> bytes:
    """The raw HTTP answer; empty when it hung up. Raises OSError when nothing is there."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as peer:
        peer.settimeout(TIMEOUT_S)
        peer.connect(address)
        peer.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        try:
            return peer.recv(4096)
        except ConnectionResetError:  # how nginx hangs up, with reset_timedout_connection
            return b""
