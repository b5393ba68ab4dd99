"""When to look again after something has changed: not amid a burst, and not much later either."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Burst:
    """Changes that lie close together. Times are seconds of one clock."""

    first: float
    last: float


def noticed(burst: Burst | None, now: float) -> Burst:
    """One more change."""
    return Burst(burst.first if burst else now, now)


def due(burst: Burst, *, quiet_s: float, longest_s: float) -> float:
    """When to look: after the last change and some quiet, but no later than `longest_s` after the first."""
    return min(burst.last + quiet_s, burst.first + longest_s)
