"""A keep-alive load that never retries: one lost request fails the test."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field

from tests.e2e.gateways import Gateway


@dataclass
class Load:
    """Clients in threads. `answers` holds (sent at, release or what went wrong) in no order."""

    gateway: Gateway
    clients: int = 4
    method: str = "GET"
    many_visitors: bool = False  # each request comes from another one
    answers: list[tuple[float, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._client) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self.gateway.host, self.gateway.port, timeout=30)
        while not self._stop.is_set():
            sent = time.monotonic()
            try:
                body = b"x" * 100 if self.method == "POST" else None
                visitor = f"visitor {len(self.answers)}" if self.many_visitors else "a visitor"
                headers = {"Host": self.gateway.domain, "User-Agent": visitor}
                connection.request(self.method, "/", body, headers=headers)
                answer = connection.getresponse()
                text = answer.read()
                what = str(json.loads(text)["release"]) if answer.status == 200 else f"HTTP {answer.status}"
            except (OSError, http.client.HTTPException) as error:
                what = f"lost: {error!r}"
                connection.close()
            self.answers.append((sent, what))
            time.sleep(0.02)

    def lost(self) -> list[str]:
        return [what for _, what in self.answers if not what.isdigit()]

    def late(self, old: str, new: str) -> int:
        """Requests that the old release answered although they were sent after the new one's first answer."""
        first = min(sent for sent, what in self.answers if what == new)
        # A request sent within the clients' own resolution of the first answer proves nothing.
        return sum(1 for sent, what in self.answers if what == old and sent > first + 0.05)
