"""Who is let in to a site: everyone, everyone later, or nobody. Its routing stays what it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.core.model import Slot

# nginx waits for the agent's word a little longer (templates/site.conf.j2).
LONGEST_PAUSE_S = 600.0
RETRY_AFTER_S = 30


class Door(StrEnum):
    OPEN = "open"
    PAUSED = "paused"  # new requests are held until it opens
    MAINTENANCE = "maintenance"  # new requests get the maintenance page


@dataclass(frozen=True, slots=True)
class Admission:
    """`until`: when a pause ends by itself, in seconds since the epoch; 0 for what has no end."""

    door: Door = Door.OPEN
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Ordered:
    """An admission as it was ordered. A pause is of the slot that was live then: a switch ends it."""

    admission: Admission
    slot: Slot | None = None

    def at(self, live: Slot | None, *, now: float) -> Admission:
        """What is left of it."""
        if self.admission.door is not Door.PAUSED:
            return self.admission
        holds = live is self.slot and now < self.admission.until
        return self.admission if holds else Admission()
