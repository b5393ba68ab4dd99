"""What the runner does around a deployment: on a real journal, in the simulated world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.journal import SqliteJournal
from gateway.core.model import Deployment, DrainClock, InFlight, Kind, Leaving, Phase, Slot
from gateway.runner import HISTORY, Runner
from gateway.world import World
from tests.simulation import SITE, Scenario, SimulatedWorld

OLD = Deployment(0, SITE.name, Kind.DEPLOY, "r1", Slot.BLUE, None, Phase.STARTING, 0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """r1 is live in blue, and more deployments have ended than are kept."""
    simulated = SimulatedWorld(Scenario())
    journal = SqliteJournal(tmp_path / "journal.sqlite3", simulated)
    for _ in range(2):
        journal.add_release(SITE.name, {"services": {"app": {}}}, {})
    for _ in range(HISTORY + 5):
        journal.save(replace(journal.begin(OLD), phase=Phase.SUCCEEDED))
    return World(simulated, simulated, simulated, journal, simulated)


def run(world: World, *, slot_needed: bool) -> Deployment:
    """A deployment of r2, to its end."""
    runner = Runner(world)
    deployment = world.journal.begin(replace(OLD, release="r2", slot=Slot.GREEN, previous="r1"))
    with runner.lock(SITE.name):  # it can't end before it is known whether an order waits for it
        runner.run(SITE, deployment)
        running = runner.running[SITE.name]
        if slot_needed:
            running.slot_needed.set()
    assert running.thread is not None
    running.thread.join(20)
    ended = world.journal.deployment(deployment.number)
    assert ended is not None
    assert ended.phase is Phase.SUCCEEDED
    return ended


def test_a_deployment_that_has_ended_leaves_the_newest_hundred(world: World) -> None:
    ended = run(world, slot_needed=False)
    kept = world.journal.deployments(SITE.name)
    assert len(kept) == HISTORY
    assert kept[0] == ended


def test_nothing_is_forgotten_under_an_order_that_waits(world: World) -> None:
    """It may be a rollback to the very oldest, whose release was looked up before the wait."""
    run(world, slot_needed=True)
    assert len(world.journal.deployments(SITE.name)) == HISTORY + 6


def test_it_is_known_while_it_runs_who_has_time_until_when(world: World) -> None:
    runner, seen = Runner(world), dict[Phase, Leaving | None]()
    simulated = world.proxy
    assert isinstance(simulated, SimulatedWorld)
    simulated.answering[Slot.BLUE] = InFlight(0, 1)
    simulated.now_s, slept = 1000.0, simulated.sleep

    def sleep(seconds: float) -> None:
        seen[runner.running[SITE.name].deployment.phase] = runner.leaving().get(SITE.name)
        slept(seconds)

    simulated.sleep = sleep  # type: ignore[method-assign]
    runner.run(SITE, world.journal.begin(replace(OLD, release="r2", slot=Slot.GREEN, previous="r1")))
    thread = runner.running[SITE.name].thread
    assert thread
    thread.join(20)
    assert seen[Phase.OBSERVING] is None
    assert {phase: (found.slot, set(found.until)) for phase, found in seen.items() if found} == {
        Phase.DRAINING: (Slot.BLUE, {DrainClock.REQUESTS, DrainClock.WEBSOCKETS}),
        Phase.KEEPING: (Slot.BLUE, {DrainClock.WEBSOCKETS}),
    }
    assert runner.leaving() == {}
