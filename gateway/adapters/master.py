"""nginx's master process beside us: a reload, and whether it took hold."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gateway.adapters.ask import answer
from gateway.paths import NGINX_PID, NGINX_SOCKET

CONFIRM_TIMEOUT_S = 10.0
LOOK_S = 0.02


class NginxMaster:
    def __init__(self, *, pid_file: str = NGINX_PID, nginx_socket: str = NGINX_SOCKET) -> None:
        self._pid_file, self._socket = Path(pid_file), nginx_socket

    def generation(self) -> str | None:
        """The generation that a fresh connection is answered from; None: nginx does not answer."""
        try:
            said = answer(self._socket, "gateway", "/generation")
        except OSError:
            return None
        head, _, body = said.partition(b"\r\n\r\n")
        return body.decode(errors="replace").strip() if head.startswith(b"HTTP/1.1 200") else None

    def reload(self, generation: str, *, timeout_s: float = CONFIRM_TIMEOUT_S) -> bool:
        """Have nginx read what is live; True when every worker that accepts runs this generation.

        nginx says nothing of a reload that it could not carry out, so its workers are looked at.
        """
        try:
            master = int(self._pid_file.read_text())
            before = accepting_workers(master)
            os.kill(master, signal.SIGHUP)
        except (OSError, ValueError):
            return False
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            now = accepting_workers(master)
            if now and not now & before and self.generation() == generation:
                return True
            time.sleep(LOOK_S)
        return False


def accepting_workers(master: int) -> set[int]:
    """The master's workers, without those that only finish what they have begun."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The command, in brackets, may hold blanks; after it: state, parent (man 5 proc).
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            # nginx writes there what a process is, and what it is about to do.
            title = (process / "cmdline").read_bytes().rstrip(b"\0 ") if parent == master else b""
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        if title == b"nginx: worker process":
            found.add(int(process.name))
    return found
