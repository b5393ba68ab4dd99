"""Runs inside the gateway's container: joins standard input and output to the controller's socket.

`docker exec -i` carries it to a host, so that the API needs no published port. Standard library only.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from gateway.paths import CONTROLLER_SOCKET as SOCKET

# nginx answers before the daemon beside it is up.
START_WAIT_S = 10.0


def main() -> None:
    peer = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + START_WAIT_S
    while True:
        try:
            peer.connect(SOCKET)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"gateway: the controller does not answer at {SOCKET}: {error}")
            time.sleep(0.05)
    threading.Thread(target=_send, args=(peer,), daemon=True).start()
    while data := peer.recv(65536):
        os.write(1, data)


def _send(peer: socket.socket) -> None:
    while data := os.read(0, 65536):
        peer.sendall(data)
    # Whoever asked has gone: end, so that nothing lingers in the container.
    peer.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
