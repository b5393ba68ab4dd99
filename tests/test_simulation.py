"""Every fault x crash point x cancel: the deployment ends, and it ends right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import Any

import pytest

from gateway.core.events import Event, HookFailed, Retired, StopFailed
from gateway.core.model import Deployment, Hook, Kind, Phase, Release, Routing, Slot
from gateway.core.plan import RunHook, StopStack
from gateway.core.transitions import TABLE, IllegalTransition, Table
from gateway.perform import Orders, Performer
from tests.simulated_jobs import HOOK_FAULTS
from tests.simulation import (
    FAULTS,
    REPLICA_FAULTS,
    SITE,
    Crash,
    Scenario,
    SimulatedWorld,
    Violation,
    run,
)

LATE = "candidate dies while it waits"
JOB_FAULTS = (*HOOK_FAULTS, "worker never ends")
FIRST_AND_CANARY = ("none", "pre-switch fails", "candidate answers 5xx", "contract fails")


def undisturbed() -> list[Scenario]:
    return (
        [
            Scenario(fault=fault, first=first, staged=staged, canary=canary)
            for fault, first, staged, canary in product(FAULTS, *3 * [(False, True)])
            # Before the first release there is nothing to compare a share's answers with.
            if (staged or fault != "candidate dies while it waits") and not (first and canary)
        ]
        + [
            Scenario(fault=fault, canary=canary, sessions=True)
            for fault, canary in product(FAULTS, (False, True))
            if fault != "candidate dies while it waits"
        ]
        + [
            Scenario(fault=fault, first=first, canary=canary, jobs=True)
            for fault in (*FAULTS, *JOB_FAULTS)
            for first, canary in ((False, False), (True, False), (False, True))
            if fault != "candidate dies while it waits"
            and (not (first or canary) or fault in FIRST_AND_CANARY)
        ]
    )


def rolling() -> list[Scenario]:
    orders = ("start-first", "stop-first")
    return (
        [Scenario(fault=fault, order=order) for fault, order in product(FAULTS, orders) if fault != LATE]
        + [
            Scenario(fault=fault, order=order, action="pause")
            for fault, order in product(("none", "start fails", "candidate answers 5xx"), orders)
        ]
        + [
            Scenario(fault=fault, order=order, action=action, ratio=ratio)
            for fault, order in product(REPLICA_FAULTS, orders)
            for action, ratio in (("rollback", 0.0), ("continue", 0.0), ("rollback", 0.34), ("pause", 0.33))
        ]
        + [Scenario(order=order, staged=True) for order in orders]
        + [Scenario(order=order, kind=Kind.ROLLBACK) for order in orders]
        + [Scenario(fault="post-switch fails", order=order, jobs=True) for order in orders]
    )


def disturbed(scenario: Scenario, *, stride: int = 1) -> list[Scenario]:
    """The scenario, killed at each of its calls (before and after the effect), and cancelled at each."""
    _, world = run(scenario)
    calls = range(1, world.calls + 1, stride)
    killed = [
        replace(scenario, crash_at=n, crash_after_effect=after) for n in calls for after in (False, True)
    ]
    return killed + [replace(scenario, cancel_at=n) for n in calls]


@pytest.mark.parametrize("scenario", undisturbed(), ids=str)
def test_a_deployment_ends_right_wherever_it_is_killed_or_cancelled(scenario: Scenario) -> None:
    for variant in disturbed(scenario):
        run(variant)


@pytest.mark.parametrize("scenario", rolling(), ids=str)
def test_a_rolling_deployment_ends_with_all_replicas_of_one_release(scenario: Scenario) -> None:
    for variant in disturbed(scenario, stride=1 if scenario.fault == "none" else 3):
        run(variant)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f != "candidate dies while it waits"])
def test_a_cancel_and_a_kill_together_end_right(fault: str) -> None:
    _, world = run(Scenario(fault=fault))
    for cancel_at, crash_at in product(range(1, world.calls, 3), range(1, world.calls, 3)):
        run(Scenario(fault=fault, cancel_at=cancel_at, crash_at=crash_at))


@pytest.mark.parametrize("fault", REPLICA_FAULTS)
@pytest.mark.parametrize(("action", "ratio"), [("continue", 0.0), ("rollback", 0.34)])
def test_a_rollout_goes_on_without_a_replica_that_fails_where_the_stack_allows_it(
    fault: str, action: str, ratio: float
) -> None:
    deployment, world = run(Scenario(fault=fault, order="start-first", action=action, ratio=ratio))
    assert deployment.phase is Phase.SUCCEEDED
    assert world.replicas_of.count(Slot.GREEN) == 3
    assert world.replicas_of.aside[Slot.GREEN].keys() == {2}


@pytest.mark.parametrize("fault", REPLICA_FAULTS)
def test_a_rollout_goes_back_where_more_fail_than_may(fault: str) -> None:
    deployment, world = run(Scenario(fault=fault, order="start-first", ratio=0.33))
    assert deployment.phase is Phase.ABORTED
    assert world.replicas_of.count(Slot.BLUE) == 3


def test_without_faults_the_candidate_is_live_and_the_previous_is_stopped() -> None:
    deployment, world = run(Scenario())
    assert deployment.phase is Phase.SUCCEEDED
    assert world.running == {"blue": None, "green": "r2"}


def test_a_rollback_is_not_rolled_back_by_what_it_finds() -> None:
    deployment, _ = run(Scenario(fault="candidate answers 5xx", kind=Kind.ROLLBACK))
    assert deployment.phase is Phase.SUCCEEDED


NEVER = Orders(lambda: False, lambda: False, lambda: False, lambda: False)


def test_what_nginx_sends_traffic_to_is_never_stopped() -> None:
    world = SimulatedWorld(Scenario())
    release = Release(2, "shop", {}, {})
    performer = Performer(SITE, release, world, world, world, world, NEVER, lambda text: None)
    retiring = Deployment(1, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.RETIRING, 0.0)
    assert isinstance(performer(retiring, StopStack(Slot.BLUE, Routing(Slot.GREEN))), StopFailed)
    assert world.running[Slot.BLUE] == "r1"
    assert world.routing == Routing(Slot.BLUE)


@pytest.mark.parametrize("serving", [Slot.BLUE, Slot.GREEN])
def test_a_contract_is_refused_while_the_previous_release_serves_or_is_kept(serving: Slot) -> None:
    world = SimulatedWorld(Scenario(jobs=True))
    world.routing = Routing(serving)
    contracting = Deployment(1, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.CONTRACTING, 0.0)
    performer = Performer(
        SITE, Release(2, "shop", {}, {}), world, world, world, world, NEVER, lambda text: None
    )
    event = performer(contracting, RunHook(Hook.CONTRACT, Slot.GREEN))
    assert isinstance(event, HookFailed)
    assert "blue still" in event.reason
    assert world.jobs.runs == []


def test_whoever_goes_back_from_a_release_does_not_run_its_contract() -> None:
    world = SimulatedWorld(Scenario(jobs=True))
    world.routing, world.running[Slot.GREEN] = Routing(Slot.GREEN), "r2"
    world.replicas_of.fill(Slot.GREEN)
    world.jobs.passed.add(Hook.PRE_SWITCH)
    back = replace(NEVER, going_back=lambda: True)
    performer = Performer(
        SITE, Release(2, "shop", {}, {}), world, world, world, world, back, lambda text: None
    )
    retiring = Deployment(
        1, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.RETIRING, 0.0, hooks=(Hook.CONTRACT,)
    )
    assert isinstance(performer(retiring, StopStack(Slot.BLUE, Routing(Slot.GREEN))), Retired)


REPEATED = (Phase.STARTING, Phase.PROBING, Phase.READY)
# Wrong rows that change nothing for anyone: before a cutover, reverting publishes what is served
# already and unwinding drains a slot that never had a request; both lead on to ABORTING.
HARMLESS = {
    (Phase.STARTING, "StackFailed", Phase.REVERTING),
    (Phase.STARTING, "StackFailed", Phase.UNWINDING),
    (Phase.STARTING, "CancelRequested", Phase.REVERTING),
    (Phase.PROBING, "ProbesFailed", Phase.REVERTING),
    (Phase.PROBING, "ProbesFailed", Phase.UNWINDING),
    (Phase.PROBING, "CancelRequested", Phase.REVERTING),
    (Phase.READY, "CandidateLost", Phase.REVERTING),
    (Phase.READY, "CandidateLost", Phase.UNWINDING),
    (Phase.READY, "CancelRequested", Phase.REVERTING),
    # A step of nobody changes nothing, nor does waiting for sessions where there are none.
    (Phase.READY, "SwitchOrdered", Phase.STEPPING),
    (Phase.OBSERVING, "ObservationPassed", Phase.HOLDING),
    (Phase.PREPARING, "SwitchOrdered", Phase.STEPPING),
    # Nothing was begun, so there is nothing to revert.
    (Phase.EXPANDING, "HookFailed", Phase.REVERTING),
    (Phase.EXPANDING, "CancelRequested", Phase.REVERTING),
    (Phase.PREPARING, "HookFailed", Phase.REVERTING),
    (Phase.PREPARING, "CancelRequested", Phase.REVERTING),
    # What was done is found done, and a hook that has run is not due again: it only takes longer.
    *((Phase.PREPARING, event, phase) for event in ("SwitchOrdered", "StepsOrdered") for phase in REPEATED),
    (Phase.ANNOUNCING, "HookPassed", Phase.CUTOVER),
    (Phase.CONTRACTING, "HookPassed", Phase.RETIRING),
    (Phase.CONTRACTING, "HookFailed", Phase.ABORTING),
    # Stopping the candidate that serves is refused, which ends in FAILED as well.
    (Phase.RETIRING, "StopFailed", Phase.ABORTING),
    (Phase.RETIRING, "StopFailed", Phase.STARTING),  # so is starting it once more
}


def mutants() -> list[tuple[Phase, type[Event], Phase]]:
    return [
        (phase, event, wrong)
        for phase, row in TABLE.items()
        for event, right in row.items()
        for wrong in Phase
        if wrong is not right
    ]


@pytest.mark.first
def test_every_wrong_row_of_the_table_breaks_an_invariant() -> None:
    by_row: dict[tuple[Phase, type[Event]], list[Scenario]] = {}
    for variant in (v for s in undisturbed() for v in [s, *disturbed(s, stride=6 - 4 * s.canary)]):
        for row in rows_used(variant):
            by_row.setdefault(row, []).append(variant)
    known = frozenset(by_row)  # these are long: only for the rows that no other uses
    for variant in (v for s in rolling() for v in [s, *disturbed(s, stride=20)]):
        for row in rows_used(variant) - known:
            by_row.setdefault(row, []).append(variant)

    def survives(phase: Phase, event: type[Event], wrong: Phase) -> bool:
        variants = by_row[phase, event]
        if (phase, event.__name__, wrong) in HARMLESS:
            variants = variants[::10]  # all of them are run, and what is harmless stays so
        return not any(breaks(variant, mutate(phase, event, wrong)) for variant in variants)

    survivors = {
        (phase, event.__name__, wrong) for phase, event, wrong in mutants() if survives(phase, event, wrong)
    }
    assert survivors == HARMLESS


class Spy(dict[type[Event], Phase]):
    """A row that notes what it is asked for: a run that does not ask for it can't tell it is wrong."""

    def __init__(self, phase: Phase, row: Mapping[type[Event], Phase], used: set[Any]) -> None:
        super().__init__(row)
        self.phase, self.used = phase, used

    def __getitem__(self, event: type[Event]) -> Phase:
        self.used.add((self.phase, event))
        return super().__getitem__(event)


def rows_used(scenario: Scenario) -> set[tuple[Phase, type[Event]]]:
    used: set[tuple[Phase, type[Event]]] = set()
    run(scenario, table={phase: Spy(phase, row, used) for phase, row in TABLE.items()})
    return used


def mutate(phase: Phase, event: type[Event], wrong: Phase) -> Table:
    rows = {p: dict(row) for p, row in TABLE.items()}
    rows[phase][event] = wrong
    return MappingProxyType(rows)


def breaks(scenario: Scenario, table: Table) -> bool:
    try:
        run(scenario, table=table)
    except (Violation, IllegalTransition, Crash, RecursionError):
        return True
    return False
