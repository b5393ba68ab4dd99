"""Hooks, a worker and a scheduler of a simulated site, and what must be true of them at each moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.core.labels import HOOK
from gateway.core.model import Deployment, Hook, HookRun, Routing, Slot

HOOK_S, WORK_S, WORK_LIMIT_S = 0.12, 0.1, 0.3
HOOKS = {f"{hook}": {"labels": {HOOK: str(hook)}} for hook in Hook}
HOOK_FAULTS = tuple(f"{hook} {what}" for hook in Hook for what in ("fails", "never ends"))


class Violation(AssertionError):
    """An invariant does not hold."""


def _require(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        raise Violation(what)


@dataclass
class SimulatedJobs:
    """State, and judgement; the world that has it brings crashes and time."""

    fault: str
    begun_at_s: dict[tuple[str, Hook], float] = field(default_factory=dict)  # containers that are there
    runs: list[Hook] = field(default_factory=list)  # how often each was begun
    passed: set[Hook] = field(default_factory=set)
    scheduled: set[Slot] = field(default_factory=set)  # where a scheduler runs
    has_scheduler: set[Slot] = field(default_factory=set)  # where one could
    networks: set[Slot] = field(default_factory=set)  # slots whose networks a hook needed
    judged: bool = True  # else a port like any other
    told_at_s: dict[Slot, float] = field(default_factory=dict)

    def look(self, deployment: Deployment, hook: Hook, now_s: float) -> HookRun:
        began = self.begun_at_s[deployment.id, hook]
        if self.fault == f"{hook} never ends" or now_s - began < HOOK_S:
            return HookRun(str(hook), None, ("working",))
        if self.fault == f"{hook} fails":
            return HookRun(str(hook), 3, ("that", "did not work"))
        self.passed.add(hook)
        return HookRun(str(hook), 0, ("done",))

    def begin(self, deployment: Deployment, hook: Hook, now_s: float) -> None:
        _require(not self.judged or hook not in self.runs, f"the hook {hook} is run a second time")
        self.begun_at_s[deployment.id, hook] = now_s
        self.runs.append(hook)

    def is_there(self, deployment: Deployment, hook: Hook) -> bool:
        return (deployment.id, hook) in self.begun_at_s

    def forget(self, deployment: Deployment, hook: Hook) -> None:
        self.begun_at_s.pop((deployment.id, hook), None)

    def judge(
        self, hook: Hook, candidate: Slot, routing: Routing, running: Mapping[Slot, str | None]
    ) -> None:
        """Whether now is its time."""
        if not self.judged:
            return
        serves = routing.serves(candidate)
        if hook is Hook.EXPAND:
            _require(not running[candidate], "expand is run when something of the candidate runs")
        if hook in (Hook.EXPAND, Hook.PRE_SWITCH):
            _require(not serves, f"{hook} is run when visitors get the candidate")
        if hook is Hook.PRE_SWITCH:
            _require(bool(running[candidate]), "pre-switch is run without a candidate")
        if hook is Hook.POST_SWITCH:
            _require(routing.slot is candidate, "post-switch is run before the switch")
        if hook is Hook.CONTRACT:
            _require(routing.slot is candidate, "contract is run when the candidate does not serve")
            _require(not running[candidate.other], "contract is run when the previous release runs")
        if hook is Hook.ON_FAILURE:
            _require(not running[candidate], "on-failure is run when the candidate runs")

    def schedule(self, slot: Slot | None) -> None:
        self.scheduled &= {slot}
        if slot in self.has_scheduler:
            self.scheduled |= {slot} if slot else set()
        _require(len(self.scheduled) <= 1, "two schedulers run")

    def busy(self, slot: Slot, now_s: float) -> bool:
        work_s = 9e9 if self.fault == "worker never ends" else WORK_S
        return now_s - self.told_at_s.get(slot, -9e9) < work_s

    def stopped(self, slot: Slot, now_s: float) -> None:
        told = self.told_at_s.pop(slot, None)
        waited = told is not None and now_s - told >= min(WORK_S, WORK_LIMIT_S) - 1e-6
        _require(waited or slot not in self.has_scheduler, f"{slot} is stopped under its worker's hands")
        self.scheduled.discard(slot)
        self.has_scheduler.discard(slot)
        self.begun_at_s = {key: at for key, at in self.begun_at_s.items() if key[1] is not Hook.ON_FAILURE}
