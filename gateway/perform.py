"""Step -> port calls -> Event. Every step may be repeated; what is already done is success."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from gateway import errors
from gateway.core import events as e
from gateway.core import plan, policy, rolling
from gateway.core.model import (
    Deployment,
    DrainClock,
    Hook,
    Phase,
    Release,
    Replica,
    Routing,
    Sample,
    Site,
    Slot,
)
from gateway.core.transitions import CANCELLABLE, is_hook_due
from gateway.deploy import Cancelled
from gateway.jobs import Waits
from gateway.leaves import Leaves
from gateway.ports import Clock, Engine, Jobs, Proxy
from gateway.scaling import Scaling
from gateway.tolerance import Pause, Tolerance

# How often things are looked at; each look is a few local system calls.
LOOK_S = 0.05
# Nginx answers a renamed routing at once (scripts/bench: 0.15 ms); a second is beyond any doubt.
CONFIRM_TIMEOUT_S, CONFIRM_LOOK_S = 1.0, 0.02


@dataclass(frozen=True, slots=True)
class Orders:
    """What people want of the running deployment, read at every look."""

    cancelled: Callable[[], bool]
    switch_ordered: Callable[[], bool]
    slot_needed: Callable[[], bool]
    going_back: Callable[[], bool]  # away from this release, once its deployment has ended


@dataclass(frozen=True, slots=True)
class Performer:
    """Performs the steps of one deployment of one site."""

    site: Site
    release: Release
    engine: Engine
    jobs: Jobs
    proxy: Proxy
    clock: Clock
    orders: Orders
    say: Callable[[str], None]  # what a step is waiting for, for people
    gives: Callable[[Mapping[DrainClock, float]], None] = lambda until: None  # who has time until when
    previous: Release | None = None  # what was live when it began
    counted_out: set[tuple[Slot, int]] = field(default_factory=set)  # as `tolerance` has it

    def __call__(self, deployment: Deployment, step: plan.Step) -> e.Event:
        match step:
            case plan.StartStack(slot, serving, replicas):
                return self._start(slot, serving, replicas)
            case plan.RunHook(hook, slot):
                return self._run_hook(deployment, hook, slot)
            case plan.Probe(slot):
                why = self._unready(deployment, slot, self._pause) if rolling.has_begun(deployment) else ""
                return e.ProbesFailed(why) if why else e.ProbesPassed()
            case plan.AwaitOrder(slot, serving, paused):
                return self._resumed() if paused else self._await_order(deployment, slot, serving)
            case rolling.ScaleSlot():
                return (
                    self._unscale(deployment, step)
                    if deployment.phase is Phase.REVERTING
                    else self._scale(deployment, step)
                )
            case plan.ShiftShare(routing, slot):
                return self._shift(deployment, routing, slot)
            case plan.SwitchUpstream(routing):
                return self._switch(deployment, routing)
            case plan.Observe(slot):
                return self._observe(deployment, slot)
            case plan.Hold(slot, serving):
                return self._hold(slot, serving)
            case plan.Drain(leaving, serving):
                return self._drain(deployment, leaving, serving)
            case plan.Keep(slot):
                return self._keep(deployment, slot)
            case plan.StopStack(slot, serving):
                return self._stop(deployment, slot, serving)

    def _pause(self, seconds: float = LOOK_S) -> None:
        if self.orders.cancelled():
            raise Cancelled
        self.clock.sleep(seconds)

    def _start(self, slot: Slot, serving: Routing, replicas: int | None) -> e.Event:
        if self.orders.cancelled():
            raise Cancelled
        if self.proxy.serving(self.site).serves(slot):  # a deployment before FAILED on its way back
            return e.StackFailed(
                f"{slot} still serves visitors: `gateway cleanup {self.site.name}` sends them away from it"
            )
        self.proxy.publish(self.site, serving)  # early, so that the cutover finds every worker awake
        try:
            self.engine.start(
                self.site, slot, self.release, cancelled=self.orders.cancelled, replicas=replicas
            )
        except errors.EngineError as error:
            if self.orders.cancelled():
                raise Cancelled from error
            return e.StackFailed(str(error))
        return e.StackStarted()

    @property
    def _waits(self) -> Waits:
        return Waits(self.site, self.release, self.jobs, self.clock, self.say)

    @property
    def _leaves(self) -> Leaves:
        return Leaves(self.site, self.proxy, self.clock, self.say, self.gives)

    def _run_hook(self, deployment: Deployment, hook: Hook, slot: Slot) -> e.Event:
        if hook is Hook.CONTRACT and (why := self._not_gone(slot.other)):
            return e.HookFailed(f"the hook {hook} was not run: {why}")
        amiss: dict[Hook, Callable[[], str]] = {
            Hook.PRE_SWITCH: lambda: self._broken(deployment, slot) if rolling.has_begun(deployment) else "",
            Hook.POST_SWITCH: lambda: self._amiss(deployment, slot, None),
        }
        wanted = deployment.phase in CANCELLABLE  # else a cancel was heard before, or comes too late
        why = self._waits.hook(
            deployment,
            hook,
            amiss=amiss.get(hook, str),
            cancelled=self.orders.cancelled if wanted else lambda: False,
            pause=self._pause if wanted else self.clock.sleep,
        )
        if why:
            return e.HookFailed(why)
        return self._onward(deployment) if hook is Hook.PRE_SWITCH else e.HookPassed()

    def _not_gone(self, slot: Slot) -> str:
        """Why the slot's release may still need its data as they are, whatever led here; else nothing."""
        if self.proxy.serving(self.site).serves(slot):
            return f"{slot} still serves {self.site.name}"
        return f"{slot} still runs" if self.engine.replicas(self.site, slot) else ""

    def _unready(self, deployment: Deployment, slot: Slot, pause: Pause, *, above: int = 0) -> str:
        """Why the slot's replicas numbered above that aren't healthy in time, else nothing.

        Docker's health and our own probes are asked for at the same time; both must be good.
        """
        policy_, deadline = self.site.probe, self.clock.now() + self.site.probe.start_deadline_s
        passed, last, waiting = 0, None, "its first answer"
        while self.clock.now() < deadline:
            every = self.engine.replicas(self.site, slot)
            replicas = [r for r in every if not above or r.number > above]
            if why := policy.broken(replicas, self.site.service):
                failed = policy.failed(replicas, self.site.service)
                break
            if policy.running(replicas, self.site.service):
                last = self.proxy.probe(self.site, slot)
                passed = passed + 1 if last.ok else 0
            if policy.docker_ready(replicas, self.site.service):
                if passed >= policy_.successes * len(policy.serving(every, self.site.service)):
                    return ""
                waiting = last.detail if last else waiting
            else:
                waiting = policy.waiting_for(replicas, self.site.service)
            self.say(waiting)
            pause(policy_.interval_s if last is not None else LOOK_S)
        else:
            why = f"not ready within {policy_.start_deadline_s:g} s: {waiting}"
            failed = policy.late(replicas, self.site.service)
        release = self._release_in(deployment, slot) if deployment.scales else None
        if release and self._tolerance.goes_on_without(slot, release, every, failed, why, pause):
            return self._unready(deployment, slot, pause, above=above)  # the others have their time anew
        return why

    def _await_order(self, deployment: Deployment, slot: Slot, serving: Routing | None) -> e.Event:
        if deployment.staged and serving:
            self.proxy.publish(self.site, serving)
        while deployment.staged and not self.orders.switch_ordered():
            if rolling.has_begun(deployment) and (why := self._broken(deployment, slot)):
                return e.CandidateLost(why)
            self.say(f"ready; waiting for `gateway switch {self.site.name}`")
            self._pause(0.5)
        return e.HookDue() if is_hook_due(deployment) else self._onward(deployment)

    def _onward(self, deployment: Deployment) -> e.Event:
        return e.StepsOrdered() if deployment.shares or deployment.scales else e.SwitchOrdered()

    def _resumed(self) -> e.Event:
        while not self.orders.switch_ordered():
            self.say(f"paused; `gateway switch {self.site.name}` goes on, `gateway abort` goes back")
            self._pause(0.5)
        return e.StepsOrdered()

    def _scaling(self, deployment: Deployment) -> Scaling:
        waits = self._unconfirmed, self._leaves, partial(self._unready, deployment)
        return Scaling(self.site, self.engine, self.proxy, self.clock, *waits)

    def _scale(self, deployment: Deployment, step: rolling.ScaleSlot) -> e.Event:
        config = rolling.update_config(self.release.stack["services"][self.site.service])
        try:
            release = self._release_in(deployment, step.slot)
            why = self._scaling(deployment)(step, release, self._pause, self.orders.cancelled)
        except errors.EngineError as error:
            if self.orders.cancelled():
                raise Cancelled from error
            why = str(error)
        beside = step.then.slot if step.then.share else None
        why = why or self._watch(deployment, deployment.slot, beside, rolling.watch_s(deployment, config))
        if why:
            said = f"with {deployment.scales[deployment.scaled + 1].candidate} replicas of it: {why}"
            return e.StepsPaused(said) if config.failure_action == rolling.PAUSE else e.StepFailed(said)
        return e.StepsPassed() if rolling.is_last(deployment) else e.StepPassed()

    def _unscale(self, deployment: Deployment, step: rolling.ScaleSlot) -> e.Event:
        live = deployment.slot.other
        if deployment.scales[deployment.scaled + 1].live and self._is_gone(live):
            return e.RevertUnconfirmed(f"{live} runs no more: the traffic stays where it is")
        try:
            release = self._release_in(deployment, step.slot)
            why = self._scaling(deployment)(step, release, self.clock.sleep, lambda: False)
        except errors.EngineError as error:
            why = str(error)
        if why:
            return e.RevertUnconfirmed(why)
        return e.StepUndone() if deployment.scaled else e.RevertConfirmed()

    def _release_in(self, deployment: Deployment, slot: Slot) -> Release:
        if slot is deployment.slot:
            return self.release
        if self.previous is None:
            raise errors.EngineError(f"{deployment.previous} is missing in the journal")
        return self.previous

    def _broken(self, deployment: Deployment, slot: Slot) -> str:
        """Why the slot can't stay, else nothing. What it can go on without is set aside."""
        replicas = self.engine.replicas(self.site, slot)
        while self._sets_aside(deployment, slot, replicas):
            replicas = self.engine.replicas(self.site, slot)  # another may have failed meanwhile
        return policy.broken(replicas, self.site.service)

    @property
    def _tolerance(self) -> Tolerance:
        return Tolerance(self.site, self.engine, self.proxy, self.clock, self.say, self.counted_out)

    def _sets_aside(self, deployment: Deployment, slot: Slot, replicas: Sequence[Replica]) -> bool:
        return bool(deployment.scales) and self._tolerance.sets_aside(
            slot, self._release_in(deployment, slot), replicas, self._pause
        )

    def _shift(self, deployment: Deployment, routing: Routing, slot: Slot) -> e.Event:
        if why := self._unconfirmed(routing):
            return e.StepFailed(why)
        if why := self._watch(deployment, slot, routing.slot, self.site.step_s):
            return e.StepFailed(f"at {routing.share} % of the visitors: {why}")
        return e.StepPassed() if len(deployment.shares) > 1 else e.StepsPassed()

    def _switch(self, deployment: Deployment, routing: Routing) -> e.Event:
        confirmed, unconfirmed = (
            (e.CutoverConfirmed, e.CutoverUnconfirmed)
            if deployment.phase is Phase.CUTOVER
            else (e.RevertConfirmed, e.RevertUnconfirmed)
        )
        if deployment.phase is Phase.REVERTING and self._is_gone(routing.slot):
            return e.RevertUnconfirmed(f"{routing.slot} runs no more: the traffic stays where it is")
        if why := self._unconfirmed(routing):
            return unconfirmed(why)
        return e.HookDue() if is_hook_due(deployment) else confirmed()

    def _unconfirmed(self, routing: Routing) -> str:
        """Order the routing and look until nginx serves it; why it doesn't, else nothing."""
        deadline = self.clock.now() + CONFIRM_TIMEOUT_S
        why = "nginx serves something else"
        while True:
            try:
                self.proxy.publish(self.site, routing)
                if self.proxy.serving(self.site) == routing:
                    return ""
            except errors.ProxyError as error:
                why = str(error)
            if self.clock.now() >= deadline:
                return f"the switch to {routing.flag} could not be confirmed: {why}"
            self.clock.sleep(CONFIRM_LOOK_S)

    def _is_gone(self, slot: Slot | None) -> bool:
        """Nothing of it runs. False when Docker can't be asked: then the way back is taken on trust."""
        try:
            return slot is not None and policy.gone(self.engine.replicas(self.site, slot), self.site.service)
        except (errors.EngineError, errors.EngineUnreachable):
            return False

    def _observe(self, deployment: Deployment, slot: Slot) -> e.Event:
        if why := self._watch(deployment, slot, None, plan.observe_s(self.site, deployment)):
            return e.ObservationFailed(why)
        try:  # only now: to stop one takes its grace period, in which nothing is watched
            self.jobs.schedule(self.site, slot)
        except errors.EngineError as error:
            return e.ObservationFailed(f"its schedulers can't be run: {error}")
        held = deployment.sessions and deployment.previous is not None
        return e.SessionsHeld() if held else e.ObservationPassed()

    def _hold(self, slot: Slot | None, serving: Routing) -> e.Event:
        """Nobody knows of a session that is silent: one may come back until it has been for too long."""
        self.proxy.publish(self.site, serving)
        until, asked, asked_at = self.clock.now() + self.site.session_timeout_s, 0, self.clock.now()
        self.gives({DrainClock.SESSIONS: until})
        while slot and self.clock.now() < until and not self.orders.slot_needed():
            found = self.proxy.sample(self.site, slot)
            if found.held != asked:
                asked, asked_at = found.held, self.clock.now()
            if self.clock.now() - asked_at >= self.site.session_idle_s or self._is_gone(slot):
                break  # whoever still held it goes to the live release
            self.say(f"{found.sessions} sessions stay with {slot}")
            self._pause(LOOK_S)
        return e.SessionsEnded()

    def _watch(self, deployment: Deployment, slot: Slot, beside: Slot | None, watch_s: float) -> str:
        """Why the slot can't stay, else nothing. `beside` answers in the same time."""
        until = self.clock.now() + watch_s
        while self.clock.now() < until:
            if why := self._amiss(deployment, slot, beside):
                return why
            self._pause(min(LOOK_S * 2, max(0.0, until - self.clock.now())))
        return ""

    def _amiss(self, deployment: Deployment, slot: Slot, beside: Slot | None) -> str:
        # The answers first: they need no Docker.
        live = self.proxy.sample(self.site, beside) if beside else Sample()
        worse = policy.worse(self.proxy.sample(self.site, slot), live, self.site)
        # Unless they are those of a replica that the others go on without.
        if worse and not self._sets_aside(deployment, slot, self.engine.replicas(self.site, slot)):
            return worse
        return self._broken(deployment, slot)

    def _drain(self, deployment: Deployment, leaving: Slot | None, serving: Routing) -> e.Event:
        self.proxy.publish(self.site, serving)
        if deployment.phase is Phase.UNWINDING:
            self.jobs.schedule(self.site, serving.slot)
        if leaving is None:
            return e.Drained()
        going_back = deployment.phase is Phase.UNWINDING
        pause = self.clock.sleep if going_back else self._pause
        until = self.clock.now() + self.site.drain_timeout_s
        clocks = {DrainClock.REQUESTS: until, DrainClock.WEBSOCKETS: until + self.site.websocket_timeout_s}
        parts = rolling.parts(deployment, leaving)
        self._leaves.waited_for(leaving, DrainClock.REQUESTS, clocks, pause, parts)
        if going_back:  # a previous release has its own for as long as it is kept, see `_keep`
            clocks = {DrainClock.WEBSOCKETS: self.clock.now() + self.site.websocket_timeout_s}
            self._leaves.waited_for(leaving, DrainClock.WEBSOCKETS, clocks, pause, parts)
        return e.Drained()

    def _keep(self, deployment: Deployment, slot: Slot | None) -> e.Event:
        if slot is None:
            return e.KeepEnded()
        now = self.clock.now()
        # What is left of a release that was rolled could not take all of its visitors back.
        warm = now + (0.0 if deployment.scales else self.site.keep_s)
        sockets = now + self.site.websocket_timeout_s
        self.gives({DrainClock.WARMTH: warm, DrainClock.WEBSOCKETS: sockets})
        while self.clock.now() < warm and not self.orders.slot_needed():
            self._pause(LOOK_S)
        if not self._is_gone(slot):
            clocks, parts = {DrainClock.WEBSOCKETS: sockets}, rolling.parts(deployment, slot)
            self._leaves.waited_for(slot, DrainClock.WEBSOCKETS, clocks, self._pause, parts)
        return e.KeepEnded()

    def _stop(self, deployment: Deployment, slot: Slot | None, serving: Routing) -> e.Event:
        # Whatever led here: what nginx sends traffic to is never stopped.
        if slot and self.proxy.serving(self.site).serves(slot):
            return e.StopFailed(f"{slot} still serves {self.site.name}: it was not stopped")
        self.proxy.publish(self.site, serving)
        try:
            if slot:
                self._waits.quiesced(slot)
                if left := self.proxy.in_flight(self.site, slot):
                    self.say(f"{slot} still has {left}: its application is told to stop")
                self.engine.stop(self.site, slot, over_s=policy.goodbye_s(left))
        except errors.EngineError as error:
            return e.StopFailed(str(error))
        # Whoever goes back needs the data as they are.
        back = deployment.phase is Phase.RETIRING and self.orders.going_back()
        return e.HookDue() if is_hook_due(deployment) and not back else e.Retired()
