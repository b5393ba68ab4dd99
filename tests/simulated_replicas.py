"""The replicas of a simulated site, and what must be true of them at each moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gateway.core.model import Routing, Slot
from tests.simulated_jobs import _require

# After how long nginx knows which addresses a slot's name has. Ours waits for longer.
KNOWN_S = 2.0


@dataclass
class SimulatedReplicas:
    """`whole`: how many each release has. `order`: of a rolling deployment, whose batches are of one.

    `failed`: those that do not answer, or no more. `aside`: what nginx was made to forget, since when.
    """

    whole: int
    order: str
    started_at_s: dict[Slot, list[float]] = field(default_factory=lambda: {slot: [] for slot in Slot})
    proven: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(Slot, 0))
    windows: dict[Slot, set[int]] = field(default_factory=lambda: {slot: set() for slot in Slot})
    stopped_at_s: dict[Slot, float] = field(default_factory=lambda: dict.fromkeys(Slot, -9e9))
    failed: dict[Slot, set[int]] = field(default_factory=lambda: {slot: set() for slot in Slot})
    served: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(Slot, 0))  # who had visitors
    aside: dict[Slot, dict[int, float]] = field(default_factory=lambda: {slot: {} for slot in Slot})

    def count(self, slot: Slot) -> int:
        return len(self.started_at_s[slot])

    def bring(self, slot: Slot, count: int, now_s: float, routing: Routing | None = None) -> None:
        now = self.started_at_s[slot]
        stays = min(count, len(now))
        if routing and routing.serves(slot) and count != len(now):
            left_out = routing.narrowed is slot and routing.within <= stays
            _require(left_out, f"a replica of {slot} starts or stops while it may get requests")
        if count < len(now):
            self.stopped_at_s[slot] = now_s
        self.started_at_s[slot] = now[:stays] + [now_s] * (count - stays)
        self.proven[slot] = min(self.proven[slot], stays)
        self.served[slot] = min(self.served[slot], stays)
        self.failed[slot] = {number for number in self.failed[slot] if number <= stays}
        self.aside[slot] = {number: at for number, at in self.aside[slot].items() if number <= stays}
        if self.order:
            most = self.whole + (self.order == "start-first")
            running = sum(map(self.count, Slot))
            _require(running <= most, f"{running} replicas run, which is more than {most}")

    def fill(self, slot: Slot) -> None:
        """As if the slot had been whole and healthy for long."""
        self.bring(slot, self.whole, -9e9)
        self.proven[slot] = self.whole

    def set_aside(self, slot: Slot, numbers: Collection[int], now_s: float) -> None:
        _require(1 not in numbers, f"{slot} may be narrowed to nobody")
        _require(set(numbers) <= self.failed[slot], f"replicas of {slot} are set aside that are well")
        self.aside[slot] = dict.fromkeys(numbers, now_s) | self.aside[slot]

    def met(self, slot: Slot, now_s: float) -> set[int]:
        """Which of those that failed nginx may still send somebody to."""
        aside = self.aside[slot]
        return {n for n in self.failed[slot] if n not in aside or now_s - aside[n] < KNOWN_S}

    def prove(self, slot: Slot, now_s: float) -> None:
        """A probe reaches what nginx knows of."""
        if not self.proven[slot]:
            self.proven[slot] = self.count(slot)  # it has asked for nobody before
        self.proven[slot] = max(
            self.proven[slot], sum(now_s - at >= KNOWN_S for at in self.started_at_s[slot])
        )

    def judge_drain(self, slot: Slot, routing: Routing, parts: Sequence[int]) -> None:
        """What began while the slot was narrowed to more than it is now must be waited for, too."""
        if routing.narrowed is slot:
            behind = {within for within in self.windows[slot] if within > routing.within}
            _require(
                behind <= set(parts), f"requests of {slot} in {behind} are forgotten, only {parts} counted"
            )

    def judge(self, routing: Routing, now_s: float) -> None:
        """Whether visitors may be sent so."""
        able = 0
        for slot in Slot:
            if not routing.serves(slot):
                continue
            narrowed = routing.narrowed is slot
            self.windows[slot] |= {routing.within} if narrowed else set()
            asked = routing.within if narrowed else self.count(slot)
            _require(asked <= self.proven[slot], f"traffic is sent to {slot}, which was not proven healthy")
            new = {n for n in self.met(slot, now_s) if self.served[slot] < n <= asked}
            _require(not new, f"the replicas {new} of {slot} get visitors, and never answered")
            self.served[slot] = max(self.served[slot], asked)
            known = narrowed or now_s - self.stopped_at_s[slot] >= KNOWN_S
            _require(known, f"nginx may send requests to a replica of {slot} that is gone")
            missing = {n for n in {*self.failed[slot], *self.aside[slot]} if n <= asked}
            able += asked - len(missing)
        if self.order and routing.slot:
            # A replica that failed is not replaced by another.
            lost = sum(len({*self.failed[slot], *self.aside[slot]}) for slot in Slot)
            least = self.whole - (self.order == "stop-first") - lost
            _require(able >= least, f"{able} replicas serve, which is fewer than {least}")
