"""What the runner does around a deployment: on a real journal, in the simulated world."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.journal import SqliteJournal
from gateway.core.model import Deployment, Kind, Phase, Slot
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
