"""One change of the number of a slot's replicas, without a request to one that starts or stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.core import policy
from gateway.core.model import DrainClock, Release, Routing, Site, Slot
from gateway.core.rolling import ScaleSlot
from gateway.errors import ProxyError
from gateway.leaves import Leaves
from gateway.ports import Clock, Engine, Proxy
from gateway.tolerance import Pause, until_resolved


class Unready(Protocol):
    def __call__(self, slot: Slot, pause: Pause, *, above: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Scaling:
    """`unconfirmed`, `leaves` and `unready` are the waits of whoever performs the step."""

    site: Site
    engine: Engine
    proxy: Proxy
    clock: Clock
    unconfirmed: Callable[[Routing], str]
    leaves: Leaves
    unready: Unready

    def __call__(self, step: ScaleSlot, release: Release, pause: Pause, cancelled: Callable[[], bool]) -> str:
        """Why it did not go well, else nothing. Raises EngineError."""
        if self._is_done(step):
            # After a restart: whoever was moved already is not moved again. Answers are counted from zero.
            return self.unconfirmed(step.then)
        if why := self.unconfirmed(step.meanwhile):
            return why
        # What began before may still be on its way to any replica: one that waits for its own body, too.
        if step.below or not step.grows:
            clocks = {DrainClock.REQUESTS: self.clock.now() + self.site.drain_timeout_s}
            self.leaves.waited_for(step.slot, DrainClock.REQUESTS, clocks, pause, step.parts)
        if not step.grows:
            clocks = {DrainClock.WEBSOCKETS: self.clock.now() + self.site.websocket_timeout_s}
            self.leaves.waited_for(step.slot, DrainClock.WEBSOCKETS, clocks, pause, step.parts)
        if why := self._is_served(step):
            return why
        self.engine.scale(self.site, step.slot, release, step.to, cancelled=cancelled)
        # Nobody is sent to an empty slot; and one that was empty from the start has no addresses of before.
        if step.below or (step.grows and step.then.slot is step.slot):
            until_resolved(self.clock, pause)
        if step.grows and (why := self.unready(step.slot, pause, above=step.below)):
            return why
        return self.unconfirmed(step.then)

    def _is_done(self, step: ScaleSlot) -> bool:
        try:
            if self.proxy.serving(self.site) != step.then:
                return False
        except ProxyError:
            return False  # what follows says why
        found = [r for r in self.engine.replicas(self.site, step.slot) if r.service == self.site.service]
        return len(found) == policy.numbered(found, self.site.service) == step.to

    def _is_served(self, step: ScaleSlot) -> str:
        """Whatever led here: what nginx sends traffic to is neither stopped nor started."""
        now = self.proxy.serving(self.site)
        left_out = now.narrowed is step.slot and now.within <= step.below
        return (
            f"{step.slot} serves as a whole: it was not scaled"
            if now.serves(step.slot) and not left_out
            else ""
        )
