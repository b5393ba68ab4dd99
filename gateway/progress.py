"""What a running deployment tells its followers: a list that grows, and a way to wait for more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

# A follower hears at least this often, so that it can tell a slow step from a dead controller.
HEARTBEAT_S = 2.0


class Progress:
    """Thread-safe. Lines are JSON objects; consecutive equal ones are told once."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._closed = False

    def tell(self, line: dict[str, Any]) -> None:
        with self._changed:
            same = self._lines and {**self._lines[-1], "at": 0} == {**line, "at": 0}
            if not same:
                self._lines.append(line)
                self._changed.notify_all()

    @property
    def waiting(self) -> str:
        """What the step in progress said last that it waits for."""
        with self._changed:
            return str(self._lines[-1].get("waiting", "")) if self._lines else ""

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def follow(self) -> Iterator[dict[str, Any] | None]:
        """All lines from the first; None as a heartbeat; ends when the deployment has."""
        told = 0
        while True:
            with self._changed:
                if told == len(self._lines) and not self._closed:
                    self._changed.wait(HEARTBEAT_S)
                new, closed = self._lines[told:], self._closed
            yield from new
            told += len(new)
            if closed and not new:
                return
            if not new:
                yield None
