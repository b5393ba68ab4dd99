"""How much is in flight by a key of nginx's count, which nginx itself tells to nobody.

Its `limit_conn` says no more than whether there are fewer than a number in its configuration, so there is a
location for each of many numbers (templates/http.conf.j2).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

from gateway.adapters.render import FEWER_THAN
from gateway.errors import ProxyError

ASK_TIMEOUT_S = 2.0
SOCKETS = "websocket"  # what $gateway_upgrade adds to a slot's key


class Counts:
    """Thread-safe. Raises ProxyError when nginx can't be asked.

    nginx counts a question too, until it has ended. On one connection it reads no other before that, so one
    connection, and one question at a time: two would count one another.
    """

    def __init__(self, nginx_socket: str) -> None:
        self._nginx, self._lock = _Connection(nginx_socket), threading.Lock()
        self._last: dict[str, int] = {}  # key -> how many numbers it was not fewer than

    def of(self, key: str) -> int:
        """Exact up to InFlight.COUNTED; beyond, no more than there are."""
        with self._lock:
            reached = highest(lambda at: not self._is_fewer(FEWER_THAN[at], key), near=self._last.get(key, 0))
            self._last[key] = reached
        return FEWER_THAN[reached - 1] if reached else 0

    def _is_fewer(self, number: int, key: str) -> bool:
        path = f"/fewer/{number}/{key}"
        try:
            return self._nginx.status(path) == 200
        except (OSError, HTTPException):
            pass  # a worker that was replaced, or answered often enough, closed the connection
        try:
            return self._nginx.status(path) == 200
        except (OSError, HTTPException) as error:
            raise ProxyError(f"nginx does not answer on its internal socket: {error}") from error


def highest(is_reached: Callable[[int], bool], *, near: int) -> int:
    """How many of FEWER_THAN's numbers are reached: they are so from the first on. `near`: where to begin.

    One question when it is still none, two when it is still as many, and the more the farther away it is.
    """
    low, high = 0, len(FEWER_THAN)
    at, stride = min(near, high - 1), 1
    while low < high:
        if not low <= at < high:
            at = (low + high) // 2
        if is_reached(at):
            low, at = at + 1, at + stride
        else:
            high, at = at, at - stride
        stride *= 2
    return low


class _Connection(HTTPConnection):
    """To a unix socket; the standard library's, because it takes a third of the time of httpx."""

    def __init__(self, path: str) -> None:
        super().__init__("gateway", timeout=ASK_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def status(self, path: str) -> int:
        """Raises OSError or HTTPException; the next one is asked on a new connection then."""
        try:
            self.request("GET", path)
            answer = self.getresponse()
            answer.read()
            return answer.status
        except (OSError, HTTPException):
            self.close()
            raise
