"""The ports together, and the two questions that nearly every order begins with."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.adapters.journal import Journal
from gateway.core import policy, rolling
from gateway.core.history import last_in_slots
from gateway.core.model import Site, Slot, Strategy
from gateway.ports import Clock, Engine, Jobs, Proxy

UNKNOWN_RELEASE = "r0"


@dataclass(frozen=True, slots=True)
class World:
    engine: Engine
    jobs: Jobs
    proxy: Proxy
    journal: Journal
    clock: Clock

    def live(self, site: Site) -> tuple[Slot | None, str | None]:
        """The slot that nginx says it serves, and the release that was last put there.

        A live slot that the journal does not know (a lost journal) holds r0: never "nothing".
        """
        slot = self.proxy.serving(site).slot
        return slot, (self.assigned(site)[slot] or UNKNOWN_RELEASE if slot else None)

    def assigned(self, site: Site) -> dict[Slot, str | None]:
        """Slot -> the release that was last started there."""
        last = last_in_slots(self.journal.deployments(site.name))
        return {slot: last[slot].release if slot in last else None for slot in Slot}

    def replaceable(self, site: Site, slot: Slot | None, release: str | None) -> int:
        """How many replicas of the live release can be left out one by one; 0: only all at once."""
        known = self.journal.release(site.name, release) if release else None
        if slot is None or known is None or site.strategy is not Strategy.ROLLING:
            return 0
        found = policy.numbered(self.engine.replicas(site, slot), site.service)
        return found if found == rolling.replicas(known.stack["services"].get(site.service, {})) else 0

    def held(self, site: Site) -> dict[Slot, str | None]:
        """Slot -> the release whose containers are there."""
        return {
            slot: (release or UNKNOWN_RELEASE) if self.engine.replicas(site, slot) else None
            for slot, release in self.assigned(site).items()
        }
