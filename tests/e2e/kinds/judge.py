"""What the clients' exchanges say about deploys. Pure: exchanges and timelines in, findings out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.kinds.clients import Exchange

WEBSOCKET = "WebSocket"  # holds up no drain


@dataclass(frozen=True, slots=True)
class Switch:
    """Of one site, from the release of deploy `number` - 1 to its own. Times: seconds since the epoch."""

    number: int
    ordered_at: float
    confirmed_at: float  # nginx said so
    draining_at: float  # from here on the slot that traffic left is looked at
    drained_at: float


def switch(number: int, deployed: Mapping[str, Any]) -> Switch:
    """From what `gateway deploy --json` says last."""
    at = {entry["phase"]: float(entry["at"]) for entry in deployed["timeline"]}
    return Switch(number, at["cutover"], at["observing"], at["draining"], at["keeping"])


def misplaced(exchanges: Iterable[Exchange], switches: Sequence[Switch]) -> list[Exchange]:
    """Those answered by a release that was left before they were sent, or switched to after they ended."""
    first = switches[0].number - 1

    def is_right(one: Exchange) -> bool:
        earliest = max((s.number for s in switches if s.confirmed_at <= one.sent), default=first)
        latest = max((s.number for s in switches if s.ordered_at <= one.ended), default=first)
        return earliest <= one.deploy <= latest

    return [one for one in exchanges if not is_right(one)]


def in_flight(exchanges: Iterable[Exchange], switch: Switch) -> list[Exchange]:
    """Those that the switch found on the release that it left."""
    return [one for one in exchanges if one.sent < switch.ordered_at and switch.draining_at < one.ended]


def drain_late_s(exchanges: Iterable[Exchange], switch: Switch) -> float:
    """How long after the last of its requests the slot counted as drained; below 0: before."""
    left = (one for one in exchanges if one.deploy == switch.number - 1 and one.kind != WEBSOCKET)
    last = max((one.ended for one in left), default=0.0)
    return switch.drained_at - max(last, switch.draining_at)
