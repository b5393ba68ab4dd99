"""What nginx says of each answer of an observed slot: a line each in a file on tmpfs, counted here.

A file and not a socket: a socket's queue holds ten messages on many systems (man 7 unix,
max_dgram_qlen), and what nginx can't send at once is lost. nginx opens the file for appending, so it
may be cut at any time.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.model import Sample
from gateway.paths import OBSERVED_LOG, TESTERS

NO_ANSWER = ("502", "504")  # what nginx notes of an application that it could not connect to
HELD = "/held"  # ends the key of a slot's answers to sessions that stayed with it
LONGEST = 4 << 20  # bytes that the file may hold when it has been read
# Times are counted in classes that grow by a tenth: an error of 5 %, and some hundred numbers at most.
_GROWTH = math.log(1.1)
_SHORTEST_S = 0.001


@dataclass(slots=True)
class _Counts:
    requests: int = 0
    errors: int = 0
    unreachable: int = 0
    times: Counter[int] = field(default_factory=Counter)
    seen: dict[str, float] = field(default_factory=dict)  # session -> when it last asked

    def add(self, status: int, seconds: float | None, *, unreachable: bool) -> None:
        self.requests += 1
        self.errors += status >= 500
        self.unreachable += unreachable
        if seconds is not None:
            self.times[round(math.log(max(seconds, _SHORTEST_S) / _SHORTEST_S) / _GROWTH)] += 1

    def p95_s(self) -> float:
        left = 0.95 * self.times.total()
        for size in sorted(self.times):
            left -= self.times[size]
            if left <= 0:
                return _SHORTEST_S * math.exp(size * _GROWTH)
        return 0.0


def make_log(path: str | Path = OBSERVED_LOG) -> None:
    """nginx's own test opens it too, and runs without root's rights (adapters.nginx_test)."""
    log = Path(path)
    if not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    if os.geteuid() == 0:
        os.chown(log, 0, TESTERS)
        log.chmod(0o660)


class ObservedAnswers:
    """Thread-safe. A key is a slot's name in nginx's configuration. Raises OSError."""

    def __init__(self, path: str | Path = OBSERVED_LOG) -> None:
        self._path, self._read_to, self._rest = Path(path), 0, ""
        self._counts: dict[str, _Counts] = {}
        self._lock = threading.Lock()

    def reset(self, key: str) -> None:
        """Count from here on."""
        with self._lock:
            self._read()
            self._counts.pop(key, None)
            self._counts.pop(key + HELD, None)

    def sample(self, key: str, *, session_idle_s: float = 0.0) -> Sample:
        with self._lock:
            self._read()
            counts = self._counts.get(key, _Counts())
            held = self._counts.get(key + HELD, _Counts())
            since = time.monotonic() - session_idle_s
            held.seen = {session: at for session, at in held.seen.items() if at >= since}
            return Sample(
                counts.requests,
                counts.errors,
                counts.unreachable,
                counts.p95_s(),
                held=held.requests,
                sessions=len(held.seen),
            )

    def _read(self) -> None:
        if not self._path.exists():
            return  # nginx makes it when it starts
        with self._path.open("rb+") as file:
            file.seek(self._read_to)
            new = file.read()
            self._read_to += len(new)
            if self._read_to > LONGEST:
                file.truncate(0)
                self._read_to = 0
        *lines, self._rest = (self._rest + new.decode(errors="replace")).split("\n")
        for line in lines:
            self._count(line)

    def _count(self, line: str) -> None:
        """`shop_green 200 -, 0.012 / -, 0.001 / 502, 200`: slot, status, and of each container that was asked
        the time until its header, until it was connected to, and what came of it.

        Or `shop_blue/held 200 r42-0a1b`: a session instead of that.
        """
        key, status, *rest = [*line.replace(",", " ").split(), "", ""]
        if not status.isdigit():
            return
        counts = self._counts.setdefault(key, _Counts())
        if key.endswith(HELD):
            counts.requests += 1
            counts.seen[rest[0]] = time.monotonic()
        else:
            headers, connects, statuses = _three(rest)
            failed = any(c == "-" and s in NO_ANSWER for c, s in zip(connects, statuses, strict=False))
            counts.add(int(status), _seconds(headers), unreachable=failed)


def _three(words: list[str]) -> list[list[str]]:
    """What stands before, between and behind two slashes."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "/":
            parts.append([])
        else:
            parts[-1].append(word)
    return [*parts, [], []][:3]


def _seconds(times: list[str]) -> float | None:
    """Of the last application that was asked; "-" is no answer."""
    numbers = [time for time in times if time.replace(".", "", 1).isdigit()]
    return float(numbers[-1]) if numbers else None
