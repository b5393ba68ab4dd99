"""Replicas that fail in a rolling deployment: the others go on without them, as far as the stack allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.core import policy, rolling
from gateway.core.model import Release, Replica, Site, Slot
from gateway.ports import Clock, Engine, Proxy

# nginx asks for the slot's name once a second (valid=1s), looks whether it should once a second, and may
# meet an answer that Docker gave just before.
RESOLVED_S = 3.0

Pause = Callable[[float], None]


def until_resolved(clock: Clock, pause: Pause) -> None:
    """From here on nginx knows the addresses that a slot's name has now."""
    until = clock.now() + RESOLVED_S
    while (left_s := until - clock.now()) > 0:
        pause(min(left_s, 0.5))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Which failures are remembered by what is set aside, so a controller that was killed knows them, too."""

    site: Site
    engine: Engine
    proxy: Proxy
    clock: Clock
    say: Callable[[str], None]
    counted_out: set[tuple[Slot, int]]  # replicas whose answers are known to be in no sample

    def sets_aside(self, slot: Slot, release: Release, replicas: Sequence[Replica], pause: Pause) -> bool:
        """True when some of the slot's replicas failed that may have had visitors, and the others go on."""
        why = policy.broken(replicas, self.site.service)
        failed = policy.failed(replicas, self.site.service)
        if failed:
            if not self.goes_on_without(slot, release, replicas, failed, why, pause):
                return False
        elif before := {(slot, r.number) for r in replicas if r.aside} - self.counted_out:
            # By a controller that was killed: perhaps before nginx forgot them, or before this.
            until_resolved(self.clock, pause)
            self.counted_out.update(before)
        else:
            return False
        self.proxy.publish(self.site, self.proxy.serving(self.site))  # what they answered counts no more
        return True

    def goes_on_without(
        self,
        slot: Slot,
        release: Release,
        replicas: Sequence[Replica],
        failed: Sequence[Replica],
        why: str,
        pause: Pause,
    ) -> bool:
        """True when they are set aside of all `replicas`, and nginx knows them no more. `why` they are."""
        service = release.stack["services"][self.site.service]
        config, whole = rolling.update_config(service), rolling.replicas(service)
        numbers = {replica.number for replica in failed}
        aside = sum(r.aside for r in replicas)
        if not rolling.goes_on_without(numbers, aside, whole, config):
            return False
        self.say(f"goes on without {aside + len(numbers)} of {whole} replicas: {why}")
        self.engine.set_aside(self.site, slot, numbers)
        until_resolved(self.clock, pause)
        self.counted_out.update((slot, number) for number in numbers)
        return True
