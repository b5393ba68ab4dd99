"""What is waited for in a slot that traffic has left: requests and WebSockets, each by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.model import DrainClock, InFlight, Site, Slot
from gateway.ports import Clock, Proxy

# Twice of it, and the journal's entry, are how late a drain ends after its last request.
LOOK_S = 0.02
Clocks = Mapping[DrainClock, float]  # when each is over, in seconds since the epoch


@dataclass(frozen=True, slots=True)
class Leaves:
    """`say`: what is waited for, for people. `gives`: until when."""

    site: Site
    proxy: Proxy
    clock: Clock
    say: Callable[[str], None]
    gives: Callable[[Clocks], None]

    def waited_for(
        self,
        slot: Slot,
        what: DrainClock,
        clocks: Clocks,
        pause: Callable[[float], None],
        parts: Sequence[int] = (),
    ) -> None:
        """Until there is nothing of `what` any more, or its time is over. `parts`: as `Proxy.in_flight`."""
        self.gives(clocks)
        # A counter may leak when a worker is killed, hence "none twice", and the time.
        none = 0
        while True:
            left = self.proxy.in_flight(self.site, slot, parts)
            none = 0 if _count(left, what) else none + 1
            if none == 2:
                return
            if (left_s := clocks[what] - self.clock.now()) <= 0:
                break
            if not none:
                self.say(f"{slot} still has {left}; {_about(left_s)} left")
            pause(LOOK_S)
        if not none:
            self.say(f"the time is over; {slot} still has {left}")


def _count(left: InFlight, what: DrainClock) -> int:
    return left.requests if what is DrainClock.REQUESTS else left.sockets


def _about(seconds: float) -> str:
    """Said anew whenever it changes, which must not be each second of a day."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
