"""A world that can fail, be killed between any two instructions, and answer "unknown" both ways."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core import stack
from gateway.core.admission import Admission, Ordered
from gateway.core.events import Event, HookFailed, StepsPaused
from gateway.core.model import (
    Deployment,
    Hook,
    HookRun,
    InFlight,
    Kind,
    Phase,
    ProbePolicy,
    ProbeResult,
    Release,
    Replica,
    Routing,
    Sample,
    Site,
    Slot,
)
from gateway.core.plan import Step
from gateway.core.rolling import scales, update_config
from gateway.core.transitions import CANCELLABLE, HOOK_OF, TABLE, Table
from gateway.deploy import advance, decide
from gateway.errors import EngineError, EngineUnreachable, ProxyError, StackInvalid
from gateway.perform import Orders, Performer
from tests.simulated_jobs import HOOKS, WORK_LIMIT_S, SimulatedJobs, Violation
from tests.simulated_replicas import SimulatedReplicas

SITE = Site(
    name="shop",
    domains=("shop.test",),
    service="app",
    port=80,
    stack_file="/stacks/shop.yaml",
    probe=ProbePolicy(successes=2, start_deadline_s=2.0),
    observe_s=0.5,
    drain_timeout_s=1.0,
    keep_s=0.5,
    hook_timeout_s=0.5,
    steps=(10, 50),
    step_s=0.3,
    session_timeout_s=1.0,
    session_idle_s=0.3,
)
CRASH_LIMIT, CALL_LIMIT = 3, 3_000
REPLICAS = 3  # that each release has, where they are replaced one by one
LOST = 2  # the number of the replica that fails, where one does
VISITS_A_SECOND, VISIT_S = 1_000, 0.2  # what visitors ask for, and how long it takes
MODEL = {"services": {"app": {"image": "shop:1"}}}


class Crash(BaseException):
    """The process is killed here."""


@dataclass(frozen=True)
class Scenario:
    """One run: what fails, where the process is killed, when a person cancels."""

    fault: str = "none"
    first: bool = False  # nothing was live before
    staged: bool = False
    canary: bool = False  # the visitors come in steps
    sessions: bool = False  # visitors stay where their session began
    order: str = ""  # of a rolling deployment, in which replica by replica is replaced
    action: str = "rollback"  # what it does when a batch fails; a person goes on once, then back
    ratio: float = 0.0  # of its replicas, how many may fail
    jobs: bool = False  # the releases have every hook, a worker and a scheduler
    kind: Kind = Kind.DEPLOY
    crash_at: int | None = None  # the nth port call
    crash_after_effect: bool = False
    cancel_at: int | None = None

    @property
    def tolerates(self) -> bool:
        """That one replica fails."""
        return self.action == "continue" or self.ratio >= 1 / REPLICAS


FAULTS = (
    "none",
    "start fails",
    "app exits",
    "probe answers 500",
    "candidate dies while it waits",
    "cutover applied but unconfirmed",
    "cutover not applied",
    "candidate dies while observed",
    "candidate answers 5xx",
    "previous never idle",
    "stop fails",
    "proxy is dead from the cutover on",
)
# Of a rolling deployment: the second one of the candidate's.
NEVER_STARTS, DIES = "a replica never starts", "a replica dies among visitors"
REPLICA_FAULTS = (NEVER_STARTS, DIES)


@dataclass
class SimulatedWorld:
    """Implements Engine, Jobs, Proxy and Clock, and checks the invariants at each call."""

    scenario: Scenario
    now_s: float = 0.0
    shortest_s: float = 0.001  # that a sleep lasts
    calls: int = 0
    routing: Routing = field(default_factory=Routing)
    ordered_admission: Ordered = field(default_factory=lambda: Ordered(Admission()))
    running: dict[Slot, str | None] = field(default_factory=lambda: dict.fromkeys(Slot))
    replicas_of: SimulatedReplicas = field(init=False)
    pauses: int = 0
    foreign: set[Slot] = field(default_factory=set)  # somebody else's containers have the slot's name
    docker_answers: bool = True
    nginx_answers: bool = True
    judged: bool = True  # else a port like any other
    visited_always: bool = True  # visitors come by themselves while time passes
    answering: dict[Slot, InFlight] = field(default_factory=dict)  # beside theirs
    samples: dict[Slot, Sample] = field(default_factory=lambda: dict.fromkeys(Slot, Sample()))
    left_at_s: dict[Slot, float] = field(default_factory=dict)
    drained: set[Slot] = field(default_factory=set)
    told_over_s: float | None = None  # of the last stop
    cancelled: bool = False
    ordered: bool = False
    visited: set[Phase] = field(default_factory=set)
    shares: list[int] = field(default_factory=list)  # as they were given, repetitions left out
    stored: Deployment | None = None
    jobs: SimulatedJobs = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = SimulatedJobs(self.scenario.fault)
        whole = REPLICAS if self.scenario.order else 1
        self.replicas_of = SimulatedReplicas(whole, self.scenario.order)
        if not self.scenario.first:
            self.replicas_of.fill(Slot.BLUE)
        if self.scenario.jobs and not self.scenario.first:
            self.jobs.has_scheduler.add(Slot.BLUE)
            self.jobs.scheduled.add(Slot.BLUE)
        if not self.scenario.first:
            self.running[Slot.BLUE] = "r1"
            self.routing = Routing(Slot.BLUE)

    # What a run is disturbed by

    def _call(self) -> None:
        self.calls += 1
        if self.calls > CALL_LIMIT:
            raise Violation("it never ends")
        if self.calls == self.scenario.cancel_at and self.stored and self.stored.phase in CANCELLABLE:
            self.cancelled = True
        if self.calls == self.scenario.crash_at and not self.scenario.crash_after_effect:
            raise Crash

    def _effect_done(self) -> None:
        if self.calls == self.scenario.crash_at and self.scenario.crash_after_effect:
            raise Crash

    def _phase(self) -> Phase | None:
        return self.stored.phase if self.stored else None

    # Clock

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self._call()
        seconds = max(seconds, self.shortest_s)
        self.now_s += seconds
        if self.visited_always:
            self._visit(round(seconds * VISITS_A_SECOND))

    def _visit(self, requests: int) -> None:
        self._lose_a_replica()
        for slot in Slot:
            bad = self.scenario.fault == "candidate answers 5xx" and self.running[slot] == "r2"
            # nginx tries another, and counts that it had to.
            bad |= any(n <= self.replicas_of.served[slot] for n in self.replicas_of.met(slot, self.now_s))
            self.answer(slot, requests, errors_5xx=requests // 2 if bad else 0)

    def _lose_a_replica(self) -> None:
        for slot, release in self.running.items():
            there = self.replicas_of.count(slot) if release == "r2" else 0
            had_visitors = self.replicas_of.served[slot] >= LOST
            if there >= LOST and (
                self.scenario.fault == NEVER_STARTS or (self.scenario.fault == DIES and had_visitors)
            ):
                self.replicas_of.failed[slot].add(LOST)

    def answer(self, slot: Slot, requests: int, *, errors_5xx: int) -> None:
        """Visitors get answers from the slot; nginx counts them where it was told to."""
        if _counts(self.routing, slot):
            s = self.samples[slot]
            self.samples[slot] = Sample(s.requests + requests, s.errors_5xx + errors_5xx)

    # Engine

    def _ask_docker(self) -> None:
        self._call()
        if not self.docker_answers:
            raise EngineUnreachable("Docker does not answer")

    def resolve(self, site: Site, images: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
        if found := stack.problems(MODEL, site, images):
            raise StackInvalid(found)
        return stack.with_images(MODEL, images)

    def start(
        self,
        site: Site,
        slot: Slot,
        release: Release,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        replicas: int | None = None,
    ) -> None:
        self._ask_docker()
        if slot in self.foreign:
            raise EngineError("not this gateway's")
        if self.routing.serves(slot):
            raise Violation("a stack is started over the one that serves")
        self.running[slot] = release.id  # what fails half way leaves containers behind
        self.replicas_of.bring(
            slot, self.replicas_of.whole if replicas is None else replicas, self.now_s, self.routing
        )
        if self.scenario.jobs:
            self.jobs.has_scheduler.add(slot)
            expanded = self.running[slot] != "r2" or Hook.EXPAND in self.jobs.passed
            _require(expanded, "the candidate is started before expand has passed")
        if self.scenario.fault == "start fails":
            raise EngineError("start failed")
        self._effect_done()

    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        self._ask_docker()
        if self.running[slot] is None:
            return []
        candidate = self.running[slot] == "r2"
        dead = candidate and (
            self.scenario.fault == "app exits"
            or (self.scenario.fault == "candidate dies while observed" and self._is_watched())
            or (self.scenario.fault == "candidate dies while it waits" and self._phase() is Phase.READY)
        )
        self._lose_a_replica()
        return [self._replica(slot, number, dead) for number in range(1, self.replicas_of.count(slot) + 1)]

    def _replica(self, slot: Slot, number: int, dead: bool) -> Replica:  # noqa: FBT001
        ended = dead or number in self.replicas_of.failed[slot]
        return Replica(
            self._name(slot, number),
            "app",
            "exited" if ended else "running",
            None,
            3 if ended else None,
            oom_killed=False,
            restarts=0,
            number=number,
            aside=number in self.replicas_of.aside[slot],
        )

    def set_aside(self, site: Site, slot: Slot, numbers: Collection[int]) -> None:
        self._ask_docker()
        if slot in self.foreign:
            raise EngineError("not this gateway's")
        if self.judged:
            _require(self.scenario.tolerates, f"{slot} goes on without a replica, which nobody allowed")
        self.replicas_of.set_aside(slot, numbers, self.now_s)
        self._effect_done()

    def scale(
        self,
        site: Site,
        slot: Slot,
        release: Release,
        replicas: int,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ask_docker()
        if slot in self.foreign:
            raise EngineError("not this gateway's")
        _require(self.running[slot] in (None, release.id), f"{slot} gets replicas of another release")
        grows = replicas > self.replicas_of.count(slot)
        if self.scenario.fault == ("start fails" if grows else "stop fails"):
            raise EngineError("it failed")
        if replicas < self.replicas_of.count(slot) and slot in self.left_at_s:
            _require(slot in self.drained, f"{slot} shrinks under requests")
        self.replicas_of.bring(slot, replicas, self.now_s, self.routing)
        self._effect_done()

    def stop(self, site: Site, slot: Slot, *, over_s: float = 0.0) -> None:
        self._ask_docker()
        self.told_over_s = over_s
        if self.routing.serves(slot) or self.routing.warm:
            raise Violation(f"{slot} is stopped while nginx sends it traffic")
        if slot in self.left_at_s and slot not in self.drained:
            raise Violation(f"{slot} is stopped although requests may be in flight")
        if self.scenario.fault == "stop fails":
            raise EngineError("stop failed")
        if self.running[slot] is not None:
            self.jobs.stopped(slot, self.now_s)
        self.running[slot] = None
        self.replicas_of.bring(slot, 0, self.now_s)
        self.jobs.networks.discard(slot)
        self._effect_done()

    # Jobs

    def run_hook(
        self,
        site: Site,
        deployment: Deployment,
        release: Release,
        hook: Hook,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> HookRun:
        self._ask_docker()
        if deployment.slot in self.foreign:
            raise EngineError("not this gateway's")
        self.jobs.judge(hook, deployment.slot, self.routing, self.running)
        if not self.jobs.is_there(deployment, hook):
            self.jobs.begin(deployment, hook, self.now_s)
            self.jobs.networks.add(deployment.slot)
            self._effect_done()
        return self.jobs.look(deployment, hook, self.now_s)

    def forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        self._ask_docker()
        self.jobs.forget(deployment, hook)

    def quiesce(self, site: Site, slot: Slot) -> Mapping[str, float]:
        self._ask_docker()
        if slot not in self.jobs.has_scheduler:
            return {}
        self.jobs.told_at_s.setdefault(slot, self.now_s)
        self._effect_done()
        return {f"{SITE.name}-{slot}-worker-1": WORK_LIMIT_S}

    def busy(self, site: Site, slot: Slot) -> Collection[str]:
        self._ask_docker()
        return [f"{SITE.name}-{slot}-worker-1"] if self.jobs.busy(slot, self.now_s) else []

    def schedule(self, site: Site, slot: Slot | None) -> None:
        self._ask_docker()
        if self.jobs.judged and self.scenario.jobs and slot is not None:
            _require(self.routing.slot is slot, f"the scheduler goes to {slot}, which is not live")
        self.jobs.schedule(slot)
        self._effect_done()

    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        self._ask_docker()
        return {} if self.running[slot] is None else {self._name(slot): ["started"]}

    def _name(self, slot: Slot, number: int = 1) -> str:
        return f"{SITE.name}-{slot}-app-{number}"

    # Proxy

    def publish(self, site: Site, routing: Routing) -> None:
        self._call()
        fault = self.scenario.fault
        served = [slot for slot in Slot if routing.serves(slot)]
        to_candidate = [slot for slot in served if self.running[slot] == "r2"]
        if fault == "cutover not applied" and to_candidate:
            raise ProxyError("the routing can't be written")
        if any(self.running[slot] is None or not self.replicas_of.count(slot) for slot in served):
            raise Violation("traffic is sent to a slot that holds nothing")
        if routing.ready and routing.slot and not self.replicas_of.proven[routing.slot.other]:
            raise Violation("a candidate is shown that was not proven healthy")
        if routing.warm and routing.slot and self.running[routing.slot.other] is None:
            raise Violation("what is warm does not run")
        if Phase.RETIRING in self.visited and not to_candidate:
            raise Violation("the way back is taken although the previous release is being stopped")
        self.replicas_of.judge(routing, self.now_s)
        if to_candidate and self.scenario.jobs and Hook.PRE_SWITCH not in self.jobs.passed:
            raise Violation("a candidate gets traffic before pre-switch has passed")
        if Hook.CONTRACT in self.jobs.runs and not to_candidate:
            raise Violation("the way back is taken across a contract")
        if to_candidate and self.scenario.staged and not self.ordered:
            raise Violation("a staged candidate gets traffic before it was ordered")
        more = _weight(routing, "r2", self.running) > _weight(self.routing, "r2", self.running)
        if more and Phase.REVERTING in self.visited:
            raise Violation("a candidate that was sent away gets traffic again")
        live = self.routing.slot
        back = live is not None and self.running[live] == "r2" and routing.slot is not live
        if back and self._phase() not in (Phase.REVERTING, Phase.UNWINDING):
            raise Violation("visitors are sent back and forth")
        self._leave(routing)
        if self.ordered_admission.at(routing.slot, now=self.now_s) == Admission():
            self.ordered_admission = Ordered(Admission())
        self._note_share(routing)
        self.routing = routing
        self.samples |= {slot: Sample() for slot in Slot if _counts(routing, slot)}
        self._effect_done()
        if fault == "cutover applied but unconfirmed" and routing.observed:
            raise ProxyError("timed out")

    def _leave(self, new: Routing) -> None:
        for slot in Slot:
            narrower = new.narrowed is slot and (self.routing.narrowed, self.routing.within) != (
                slot,
                new.within,
            )
            if self.routing.serves(slot) and (narrower or not new.serves(slot)):
                self.left_at_s[slot] = self.now_s
                self.drained.discard(slot)

    def _note_share(self, routing: Routing) -> None:
        if self.scenario.order:
            return
        if routing.share and self.shares[-1:] != [routing.share]:
            self.shares.append(routing.share)
        given = tuple(self.shares)
        if self.scenario.canary and routing.observed and given != SITE.steps:
            raise Violation(f"all visitors are sent to the candidate after {given}")
        if given != SITE.steps[: len(given)]:
            raise Violation(f"the steps were {given}")

    def _is_watched(self) -> bool:
        return self.routing.observed or self.routing.share > 0

    def _proxy_is_dead(self) -> bool:
        dead = self.scenario.fault == "proxy is dead from the cutover on"
        begun = {Phase.STEPPING, Phase.CUTOVER} & {*self.visited, self._phase()}
        return not self.nginx_answers or (dead and bool(begun))

    def _ask_nginx(self) -> None:
        self._call()
        if self._proxy_is_dead():
            raise ProxyError("nginx does not answer")

    def admit(self, site: Site, admission: Admission) -> None:
        self._call()
        self.ordered_admission = Ordered(admission, self.routing.slot)
        self._effect_done()

    def admission(self, site: Site) -> Admission:
        self._ask_nginx()
        return self.ordered_admission.at(self.routing.slot, now=self.now_s)

    def serving(self, site: Site) -> Routing:
        self._ask_nginx()
        if site.name != SITE.name:
            raise ProxyError(f"nginx does not know {site.name}")
        if self.scenario.fault == "cutover applied but unconfirmed" and self.routing.observed:
            raise ProxyError("timed out")
        return self.routing

    def probe(self, site: Site, slot: Slot) -> ProbeResult:
        self._call()
        if self._proxy_is_dead():
            return ProbeResult(ok=False, status=None, body="", detail="no answer")
        if self.running[slot] is None or not self.replicas_of.count(slot):
            return ProbeResult(ok=False, status=502, body="", detail="answered 502")
        if self.scenario.fault == "probe answers 500" and self.running[slot] == "r2":
            return ProbeResult(ok=False, status=500, body="", detail="answered 500")
        if self.replicas_of.met(slot, self.now_s):
            return ProbeResult(ok=False, status=502, body="", detail="answered 502")
        self.replicas_of.prove(slot, self.now_s)
        return ProbeResult(ok=True, status=200, body="", detail="answered 200")

    def in_flight(self, site: Site, slot: Slot, parts: Sequence[int] = ()) -> InFlight:
        self._ask_nginx()
        self.replicas_of.judge_drain(slot, self.routing, parts)
        visited = self.visited_always and self._is_visited(slot)
        left = self.answering.get(slot, InFlight(requests=1 if visited else 0))
        over = self.now_s - self.left_at_s.get(slot, 0) >= SITE.drain_timeout_s - 0.1
        if (not left or over) and self._phase() not in (Phase.KEEPING, Phase.RETIRING, Phase.ABORTING):
            self.drained.add(slot)
        return left

    def _is_visited(self, slot: Slot) -> bool:
        busy_s = 9e9 if self.scenario.fault == "previous never idle" else VISIT_S
        serves = self.routing.serves(slot) and self.routing.narrowed is not slot
        return serves or self.now_s - self.left_at_s.get(slot, -9e9) < busy_s

    def sample(self, site: Site, slot: Slot) -> Sample:
        return self.samples[slot]


def _counts(routing: Routing, slot: Slot) -> bool:
    """Whether the slot's answers are counted: both while visitors are shared, else the observed one's."""
    return routing.share > 0 or (routing.observed and slot is routing.slot)


def run(scenario: Scenario, *, table: Table = TABLE) -> tuple[Deployment, SimulatedWorld]:
    """Drive one deployment to its end through every restart. Raises Violation, IllegalTransition."""
    # Between looks that are closer nothing happens, and a kill there tells nothing.
    world = SimulatedWorld(scenario, shortest_s=0.1)
    world.stored = Deployment(
        number=2,
        site="shop",
        kind=scenario.kind,
        release="r2",
        slot=Slot.BLUE if scenario.first else Slot.GREEN,
        previous=None if scenario.first else "r1",
        phase=Phase.EXPANDING if scenario.jobs else Phase.STARTING,
        created_at=0.0,
        staged=scenario.staged,
        shares=SITE.steps if scenario.canary else (),
        scales=scales(REPLICAS, REPLICAS, update_config(app(scenario))) if scenario.order else (),
        sessions=scenario.sessions,
        hooks=tuple(Hook) if scenario.jobs else (),
    )
    for _ in range(CRASH_LIMIT):
        try:
            _advance(world, table)
            break
        except Crash:
            continue
    check_end(world)
    assert world.stored is not None
    return world.stored, world


def _advance(world: SimulatedWorld, table: Table) -> None:
    def switch_ordered() -> bool:
        # It comes as soon as it is waited for, unless the candidate has to die first.
        world.ordered = world.scenario.fault != "candidate dies while it waits"
        return world.ordered and world.pauses < 2

    performer = Performer(
        site=SITE,
        release=Release(2, "shop", {"services": {"app": app(world.scenario)} | HOOKS}, {}),
        previous=Release(1, "shop", {"services": {"app": {}}}, {}),
        engine=world,
        jobs=world,
        proxy=world,
        clock=world,
        orders=Orders(lambda: world.cancelled, switch_ordered, lambda: False, lambda: False),
        say=lambda text: None,
    )

    def perform(deployment: Deployment, step: Step) -> Event:
        # As the runner does: a step that can't be carried out now is repeated, for a bounded time here.
        for _ in range(5):
            try:
                return performer(deployment, step)
            except (EngineError, ProxyError):
                world.sleep(1.0)
        raise Stuck

    def settle(deployment: Deployment, event: Event) -> Deployment:
        cancel = world.cancelled and deployment.phase in CANCELLABLE
        world.stored = decide(deployment, event, cancel_requested=world.cancelled, table=table)
        world.visited.add(world.stored.phase)
        world.pauses += world.stored.phase is Phase.PAUSED
        world.cancelled |= world.pauses > 1 and world.stored.phase is Phase.PAUSED
        if cancel and world.stored.phase not in (Phase.ABORTING, Phase.REVERTING):
            raise Violation("a cancel does not lead back")
        pauses, goes_on = world.stored.phase is Phase.PAUSED, deployment.phase is Phase.PAUSED and not cancel
        asks = isinstance(event, StepsPaused) and not cancel
        _require(pauses or not asks, "a batch that failed is to wait for a person, and does not")
        _require(not pauses or world.scenario.action == "pause", "it waits for a person whom nobody told")
        _require(not goes_on or world.stored.phase is Phase.STEPPING, "it does not go on as it was told to")
        failed = isinstance(event, HookFailed)
        if failed and world.stored.phase not in (Phase.ABORTING, Phase.REVERTING, Phase.FAILED):
            raise Violation("a hook that failed does not lead back")
        if Phase.REPORTING in world.visited and world.stored.phase not in LAST:
            raise Violation("something begins after on-failure was run")
        world._call()  # a crash right after the write
        if hook := HOOK_OF.get(deployment.phase):
            world.forget_hook(SITE, deployment, hook)
        return world.stored

    assert world.stored is not None
    try:
        advance(world.stored, perform=perform, settle=settle)
    except Stuck:
        return


LAST = (Phase.REPORTING, Phase.ABORTING, Phase.ABORTED, Phase.FAILED)


class Stuck(Exception):
    """Nginx can't be asked at all: the step stays in progress, nothing else happens."""


def check_end(world: SimulatedWorld) -> None:
    """What must be true of the world where a deployment has ended."""
    d = world.stored
    assert d is not None
    previous, candidate = d.previous_slot, d.slot
    check_jobs(d, world)
    if d.phase is Phase.SUCCEEDED:
        only = Routing(candidate, release="r2" if d.sessions else None)
        _require(world.routing == only, "succeeded, but it is not the candidate alone that serves")
        held = not d.sessions or previous is None or Phase.HOLDING in world.visited
        _require(held, "succeeded, but no session could end where it began")
        _require(previous is None or world.running[previous] is None, "succeeded, but blue was not stopped")
        _require(not world.cancelled, "a cancel was acknowledged and ignored")
        whole = world.replicas_of.count(candidate) == world.replicas_of.whole
        _require(whole, "succeeded without all of its replicas")
        watched = d.kind is Kind.DEPLOY  # a rollback is an emergency: it is not watched, so not undone
        _require(not watched or not must_abort(world.scenario), "a broken candidate was kept")
        left = world.replicas_of
        _require(not watched or left.failed[candidate] == left.aside[candidate].keys(), "a replica is met")
        _require(previous is None or previous in world.drained, "succeeded without a drain")
        _require(Phase.KEEPING in world.visited, "succeeded, but blue was not kept warm")
    elif d.phase is Phase.ABORTED:
        _require(world.routing.slot is previous, "aborted, but the previous release does not serve")
        _require(not world.routing.serves(candidate), "aborted, but the candidate serves as well")
        _require(world.running[candidate] is None, "aborted, but the candidate still runs")
        _require(previous is None or world.running[previous] == "r1", "aborted, and the previous is gone")
        kept = previous is None or world.replicas_of.count(previous) == world.replicas_of.whole
        _require(kept, "aborted, and replicas of the previous are missing")
        _require(world.cancelled or must_abort(world.scenario), "aborted without a reason")
        switched = bool({Phase.STEPPING, Phase.CUTOVER} & world.visited)
        _require(not switched or Phase.REVERTING in world.visited, "aborted without a confirmed way back")
    elif d.phase is Phase.FAILED:
        _require(world.scenario.fault in MAY_FAIL, "failed without a reason")
        if d.contracted:
            _require(world.routing.slot is candidate, "failed after the contract, but not live")
        else:
            kept = previous is None or world.running[previous] == "r1"
            _require(kept, "failed, and the previous is gone")
    else:
        raise Violation(f"stuck in {d.phase}")


def check_jobs(d: Deployment, world: SimulatedWorld) -> None:
    """Which hooks have run, and where the scheduler is, where a deployment has ended."""
    jobs, forward = world.jobs, set(Hook) - {Hook.ON_FAILURE}
    if not world.scenario.jobs:
        return _require(not jobs.runs, "a hook was run that the release does not have")
    _require(d.contracted == (Hook.CONTRACT in jobs.runs), "what is remembered of the contract is not true")
    _require(len(jobs.scheduled) <= 1, "two schedulers run")
    if d.phase is Phase.SUCCEEDED:
        _require(jobs.passed == forward, "succeeded without its hooks")
        _require(jobs.scheduled == {d.slot}, "succeeded, but the scheduler is elsewhere")
    if d.phase is Phase.ABORTED:
        _require(jobs.runs.count(Hook.ON_FAILURE) == 1, "aborted without on-failure")
        _require(Hook.CONTRACT not in jobs.runs, "aborted after the contract")
        _require(d.slot not in jobs.networks, "aborted, but on-failure left its network")
        live = {d.previous_slot} if d.previous_slot else set()
        _require(jobs.scheduled == live, "aborted, but the scheduler is elsewhere")
    return None


def app(scenario: Scenario) -> dict[str, Any]:
    """The service that takes the traffic."""
    if not scenario.order:
        return {}
    config = {
        "order": scenario.order,
        "monitor": "300ms",
        "failure_action": scenario.action,
        "max_failure_ratio": scenario.ratio,
    }
    return {"deploy": {"replicas": REPLICAS, "update_config": config}}


def _weight(routing: Routing, release: str, running: Mapping[Slot, str | None]) -> int:
    """Percent of the visitors without a session that the release gets."""
    if routing.slot is None:
        return 0
    return 100 - routing.share if running[routing.slot] == release else routing.share


UNDOING_HOOKS = (Hook.EXPAND, Hook.PRE_SWITCH, Hook.POST_SWITCH)
MUST_ABORT = frozenset(
    {
        "start fails",
        "app exits",
        "probe answers 500",
        "candidate dies while it waits",
        "cutover applied but unconfirmed",
        "cutover not applied",
        "candidate dies while observed",
        "candidate answers 5xx",
        *(f"{hook} {what}" for hook in UNDOING_HOOKS for what in ("fails", "never ends")),
    }
)


def must_abort(scenario: Scenario) -> bool:
    """Unless a person went back before."""
    return scenario.fault in MUST_ABORT or (scenario.fault in REPLICA_FAULTS and not scenario.tolerates)


MAY_FAIL = frozenset(
    {"stop fails", "proxy is dead from the cutover on", "contract fails", "contract never ends"}
)


def _require(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:
        raise Violation(what)
