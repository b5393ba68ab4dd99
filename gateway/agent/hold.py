"""Requests to paused sites wait here: nginx asks for each, and goes on with it once it is answered.

An answer of 204 lets it in, 403 sends it to the maintenance page. No answer lets it in as well
(templates/site.conf.j2), so whatever happens to us loses no request.

And whoever wants to see a candidate is asked for here, with the token that he sent: 204 or 403 at once. No
answer lets nobody see it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import GatewayError

log = logging.getLogger("gateway")
# Each takes two of nginx's connections, of which a worker has 8192 (Dockerfile).
MOST = 3000
LOOK_S = 0.02
# Of those who were held, the first first. All in one moment would fill the queue in which the application's
# new connections wait (often 128: net.core.somaxconn before Linux 5.4), and those beyond it take too long. So
# at each look, while no more than these are in flight beyond what was so when the site opened.
AT_ONCE = 20
UNANSWERED = 100
IDLE_LOOK_S = 0.2
AGAIN_S = 1.0
ASKED = re.compile(rb"GET /([a-z0-9-]+) HTTP/1\.[01]\r\n")
PREVIEW = re.compile(
    rb"GET /([a-z0-9-]+)/preview HTTP/1\.[01]\r\n(?:.*\r\n)*?X-Gateway-Preview: (.*)\r\n(?:.*\r\n)*\r\n"
)
LET_IN = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
LONGEST_QUESTION = 4096
Let = Callable[[str, str], bool]


@dataclass(slots=True)
class _Queue:
    """Who is held for a site, in their order, until when, and what was in flight once the site was open."""

    until: float
    held: dict[_Held, None] = field(default_factory=dict)
    base: int | None = None


class Hold:
    """`until`: when a site's pause ends, None when it is not paused. `settle` ends those that are over.

    `in_flight`: how many requests a site is answering. `may_see`: whether a site's candidate is to be seen by
    whoever has this token.
    """

    def __init__(
        self,
        until: Callable[[str], float | None],
        settle: Callable[[], None],
        *,
        in_flight: Callable[[str], int] = lambda site: 0,
        may_see: Let = lambda site, token: False,
        most: int = MOST,
    ) -> None:
        self._in_flight, self._may_see = in_flight, may_see
        self._until, self._settle, self._most = until, settle, most
        self._queues: dict[str, _Queue] = {}

    @property
    def count(self) -> int:
        return sum(len(queue.held) for queue in self._queues.values())

    def ask(self, held: _Held, site: str) -> None:
        until = self._pause_of(site)
        if until is None:
            held.answer(LET_IN)
        elif self.count >= self._most:
            held.answer(REFUSED)
        else:
            queue = self._queues.setdefault(site, _Queue(until))
            queue.until, queue.held[held] = until, None
            held.site = site

    def show(self, held: _Held, site: str, token: str) -> None:
        held.answer(LET_IN if self._may_see(site, token) else REFUSED)

    def _pause_of(self, site: str) -> float | None:
        """What can't be read holds nobody."""
        try:
            return self._until(site)
        except (GatewayError, OSError) as error:
            log.warning("nobody is held for %s: %s", site, error)
            return None

    def leave(self, held: _Held) -> None:
        if queue := self._queues.get(held.site):
            queue.held.pop(held, None)

    def look(self) -> None:
        """End what is over, and let in or refuse whom that concerns. Raises GatewayError, OSError."""
        try:
            self._settle()
        finally:
            self._let_in()

    def _let_in(self) -> None:
        for site, queue in list(self._queues.items()):
            until = self._pause_of(site)
            if until is not None:
                queue.until, queue.base = until, None
                continue
            # The site is open already: whoever comes now is served.
            over = time.time() >= queue.until
            for _ in range(len(queue.held) if over else min(self._room(site, queue), len(queue.held))):
                first = next(iter(queue.held))
                del queue.held[first]
                first.answer(REFUSED if over else LET_IN)
            queue.until = math.inf  # who is left was in time
            if not queue.held:
                del self._queues[site]

    def _room(self, site: str, queue: _Queue) -> int:
        """At least one: what is in flight may have come after the pause, and may stay."""
        try:
            busy = self._in_flight(site)
        except (GatewayError, OSError):
            busy = 0
        queue.base = busy if queue.base is None else min(queue.base, busy)
        return max(1, min(AT_ONCE, queue.base + UNANSWERED - busy))


class _Held(asyncio.Protocol):
    """One request that nginx asks for."""

    def __init__(self, hold: Hold) -> None:
        self._hold, self._said = hold, b""
        self.site = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._said += data
        if self.site:
            return
        if asked := ASKED.match(self._said):
            self._hold.ask(self, asked[1].decode())
        elif asked := PREVIEW.match(self._said):
            self._hold.show(self, asked[1].decode(), asked[2].decode("latin-1"))
        elif b"\r\n\r\n" in self._said or len(self._said) > LONGEST_QUESTION:
            self.answer(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Also when the client gave up: nginx hangs up then."""
        self._hold.leave(self)

    def answer(self, said: bytes) -> None:
        if self._transport is not None:
            self._transport.write(said)
            self._transport.close()


async def serve(hold: Hold, path: Path) -> None:
    """For ever, on a unix socket. Raises OSError."""
    _allow_many_files()
    path.unlink(missing_ok=True)
    loop = asyncio.get_running_loop()
    # What does not fit in the queue is let in at once.
    server = await loop.create_unix_server(lambda: _Held(hold), str(path), backlog=4096)
    path.chmod(0o666)  # for nginx's workers; its folder keeps all others out
    said = ""
    async with server:
        while True:
            try:
                hold.look()
                problem = ""
            except Exception as error:  # the next look may find it mended
                problem = repr(error)
                if problem != said:
                    log.warning("who is let in can't be looked up: %s", problem)
            said = problem
            await asyncio.sleep(LOOK_S if hold.count else IDLE_LOOK_S)


def serve_for_ever(hold: Hold, path: Path) -> None:
    while True:
        try:
            asyncio.run(serve(hold, path))
        except OSError as error:
            log.warning("nobody can be held: %s", error)
        time.sleep(AGAIN_S)


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
