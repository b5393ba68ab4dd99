"""What a recorded load says about switches. Pure: records in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Record:
    """One request as the client saw it. Times are one monotonic clock's seconds."""

    sent: float
    ended: float
    status: int | None  # None: no complete answer
    release: str | None  # who answered
    error: str = ""

    @property
    def complete(self) -> bool:
        return self.status is not None and 200 <= self.status <= 299


@dataclass(frozen=True, slots=True)
class Switch:
    """`release` goes live, not before `ordered_at`. In the order in which they happened."""

    release: str
    ordered_at: float


@dataclass(frozen=True, slots=True)
class Report:
    requests: int
    lost: int
    wrong_release: int
    mixed_window_ms: tuple[float, ...]  # one a switch

    @property
    def mixed_window_ms_max(self) -> float:
        return max(self.mixed_window_ms, default=0.0)


def lost(records: Iterable[Record]) -> list[Record]:
    """Every request without a complete 2xx answer."""
    return [record for record in records if not record.complete]


def analyse(records: Sequence[Record], switches: Sequence[Switch]) -> Report:
    first = first_answers(records, switches)
    wrong = wrong_release(records, switches, first)
    windows = tuple(
        max(((r.sent - start) * 1000 for r, index in wrong if index == i), default=0.0)
        for i, start in enumerate(first)
    )
    return Report(len(records), len(lost(records)), len(wrong), windows)


def first_answers(records: Sequence[Record], switches: Sequence[Switch]) -> list[float]:
    """When each switch was first seen: the end of the first complete answer of its release."""
    found: list[float] = []
    for switch in switches:
        after = max([switch.ordered_at, *found[-1:]])
        ends = [r.ended for r in records if r.complete and r.release == switch.release and r.ended >= after]
        if not ends:
            raise ValueError(f"no answer of release {switch.release} after it was switched to")
        found.append(min(ends))
    return found


def wrong_release(
    records: Sequence[Record], switches: Sequence[Switch], first: Sequence[float]
) -> list[tuple[Record, int]]:
    """Requests sent after a release was first seen, yet answered by an older one; with the switch's index.

    A release may come back later (a rollback): an answer counts for a later switch only from
    the moment when that one was first seen.
    """
    wrong = []
    for record in records:
        if not record.complete:
            continue
        current = max((i for i, seen in enumerate(first) if seen < record.sent), default=None)
        if current is None:
            continue
        allowed = {switches[current].release}
        allowed |= {
            s.release
            for s, seen in zip(switches[current + 1 :], first[current + 1 :], strict=True)
            if record.ended >= seen
        }
        if record.release not in allowed:
            wrong.append((record, current))
    return wrong


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` (0..1) of the values do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def flat(values: Sequence[float], *, share: float, absolute: float) -> bool:
    """True when the last quarter's mean is above the first quarter's by no more than the tolerance."""
    first, last = quarters(values)
    return last <= first + max(first * share, absolute)


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Means of the first and of the last quarter."""
    size = max(1, len(values) // 4)
    return sum(values[:size]) / size, sum(values[-size:]) / size
