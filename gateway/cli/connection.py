"""Where the controller is: its socket inside the container, or `docker exec` from a host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gateway.dial import START_WAIT_S
from gateway.errors import ControllerUnreachable, UsageError
from gateway.paths import CONTROLLER_SOCKET as SOCKET

INSIDE = "/docker-entrypoint.d/30-gateway.sh"
LABEL = "gateway.role=controller"
DIAL = ("/opt/gateway/bin/python", "-m", "gateway.dial")


@contextmanager
def controller_socket() -> Iterator[str]:
    """The path of a unix socket that leads to the controller's API.

    Raises ControllerUnreachable, or UsageError when several gateways run and none is named.
    """
    if _answers() or os.path.exists(INSIDE):  # noqa: PTH110 - False, not an error, for who may not look
        yield from _when_it_is_up()
        return
    container = _container()
    folder = tempfile.mkdtemp(prefix="gateway-")
    try:
        path = f"{folder}/controller.sock"
        server = socket.socket(socket.AF_UNIX)
        server.bind(path)
        server.listen()
        threading.Thread(target=_serve, args=(server, container), daemon=True).start()
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _when_it_is_up() -> Iterator[str]:
    """Inside the container nginx answers before the daemon beside it is up, or up again."""
    deadline = time.monotonic() + START_WAIT_S
    while not _answers():
        if time.monotonic() > deadline:
            raise ControllerUnreachable(f"the controller is not up ({SOCKET}): see `docker compose logs`")
        time.sleep(0.05)
    yield SOCKET


def _answers() -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(SOCKET) == 0


def _container() -> str:
    """The id of the gateway's container. GATEWAY_CONTAINER names one of several."""
    if named := os.environ.get("GATEWAY_CONTAINER"):
        return named
    command = ["docker", "ps", "--filter", f"label={LABEL}", "--format", "{{.ID}} {{.Names}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        raise ControllerUnreachable("no `docker` on the PATH: run this where the gateway runs") from error
    if done.returncode != 0:
        raise ControllerUnreachable(f"the Docker Engine can't be reached: {done.stderr.strip()}")
    found = [line.split() for line in done.stdout.splitlines()]
    if not found:
        raise ControllerUnreachable("no gateway is running: start it with `docker compose up -d`")
    if len(found) > 1:
        names = ", ".join(name for _, name in found)
        raise UsageError(f"several gateways run ({names}): set GATEWAY_CONTAINER to one of them")
    return found[0][0]


def _serve(server: socket.socket, container: str) -> None:
    ahead: list[subprocess.Popen[bytes]] = [_dial(container)]  # while the caller loads its HTTP client
    while True:
        peer, _ = server.accept()
        dial = ahead.pop() if ahead else _dial(container)
        threading.Thread(target=_pump_in, args=(peer, dial), daemon=True).start()
        threading.Thread(target=_pump_out, args=(peer, dial), daemon=True).start()


def _dial(container: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C is ours to handle, not docker's.
    return subprocess.Popen(
        ["docker", "exec", "-i", container, *DIAL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _pump_in(peer: socket.socket, dial: subprocess.Popen[bytes]) -> None:
    assert dial.stdin
    try:
        while data := peer.recv(65536):
            dial.stdin.write(data)
            dial.stdin.flush()
    except OSError:
        pass
    finally:
        dial.stdin.close()


def _pump_out(peer: socket.socket, dial: subprocess.Popen[bytes]) -> None:
    assert dial.stdout
    try:
        while data := os.read(dial.stdout.fileno(), 65536):
            peer.sendall(data)
    except OSError:
        pass
    finally:
        dial.wait()
        with suppress(OSError):  # a close alone would wait for the thread that still reads
            peer.shutdown(socket.SHUT_RDWR)
        peer.close()
