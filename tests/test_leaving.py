"""How long what is in flight keeps a slot that traffic has left, each kind by its own clock. Simulated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from gateway.core.events import Drained, Event, KeepEnded, Retired
from gateway.core.model import Deployment, DrainClock, InFlight, Kind, Phase, Release, Routing, Site, Slot
from gateway.core.plan import next_step
from gateway.core.policy import goodbye_s
from gateway.leaves import Clocks
from gateway.perform import Orders, Performer
from tests.simulation import SITE, Scenario, SimulatedWorld

DEPLOYMENT = Deployment(1, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.DRAINING, 0.0)
NOBODY = InFlight()


@dataclass
class Left:
    """Blue, which traffic has left. `leaves`: at which second what is still there."""

    leaves: list[tuple[float, InFlight]]
    slot_needed: Callable[[], bool] = lambda: False
    site: Site = SITE
    world: SimulatedWorld = field(init=False)
    given: list[Clocks] = field(default_factory=list)

    def __post_init__(self) -> None:
        world = self.world = SimulatedWorld(Scenario(), visited_always=False)
        world.running |= {Slot.GREEN: "r2"}
        world.replicas_of.fill(Slot.GREEN)
        world.routing = Routing(Slot.GREEN)
        slept = world.sleep

        def sleep(seconds: float) -> None:
            slept(seconds)
            self._look()

        world.sleep = sleep  # type: ignore[method-assign]
        self._look()

    def _look(self) -> None:
        self.world.answering[Slot.BLUE] = [left for at, left in self.leaves if at <= self.world.now_s][-1]

    def perform(self, phase: Phase) -> tuple[type[Event], float]:
        """What a phase brings, and when."""
        orders = Orders(lambda: False, lambda: False, self.slot_needed, lambda: False)
        release, world = Release(2, "shop", {}, {}), self.world
        performer = Performer(
            self.site, release, world, world, world, world, orders, lambda text: None, self.given.append
        )
        deployment = replace(DEPLOYMENT, phase=phase)
        world.stored = deployment
        step = next_step(deployment)
        assert step
        return type(performer(deployment, step)), world.now_s


@pytest.mark.parametrize("sockets", [0, 5])
def test_a_drain_ends_with_the_last_request_whatever_the_websockets(sockets: int) -> None:
    left = Left([(0, InFlight(3, sockets)), (0.4, InFlight(1, sockets)), (0.6, InFlight(0, sockets))])
    event, at_s = left.perform(Phase.DRAINING)
    assert left.given == [{DrainClock.REQUESTS: 1.0, DrainClock.WEBSOCKETS: 61.0}]
    assert event is Drained
    assert 0.6 <= at_s <= 0.65


def test_a_drain_ends_with_its_time() -> None:
    event, at_s = Left([(0, InFlight(1))]).perform(Phase.DRAINING)
    assert event is Drained
    assert at_s == pytest.approx(SITE.drain_timeout_s, abs=0.05)


TIMED = replace(SITE, keep_s=0.5, websocket_timeout_s=3.0)


@pytest.mark.parametrize(
    ("leaves", "ends_at_s"),
    [
        ([(0, InFlight(0, 2)), (1.2, NOBODY)], 1.2),
        ([(0, InFlight(0, 2)), (0.2, NOBODY)], 0.5),  # it is kept warm for that long anyway
        ([(0, InFlight(0, 2))], 3.0),
    ],
    ids=["the last goes", "the last goes while it is warm", "one stays"],
)
def test_a_release_is_kept_for_its_websockets_until_they_are_gone_or_their_time_is_over(
    leaves: list[tuple[float, InFlight]], ends_at_s: float
) -> None:
    left = Left(leaves, site=TIMED)
    event, at_s = left.perform(Phase.KEEPING)
    assert left.given[0] == {DrainClock.WARMTH: 0.5, DrainClock.WEBSOCKETS: 3.0}
    assert event is KeepEnded
    assert at_s == pytest.approx(ends_at_s, abs=0.08)


def test_the_next_deploy_ends_the_warmth_and_not_the_websockets_time() -> None:
    needed = Left([(0, InFlight(0, 2)), (1.2, NOBODY)], lambda: True, replace(TIMED, keep_s=100.0))
    assert needed.perform(Phase.KEEPING)[1] == pytest.approx(1.2, abs=0.08)


def test_a_candidate_that_is_sent_away_gives_its_websockets_their_time_too() -> None:
    left = Left([(0, InFlight(0, 2))], site=replace(TIMED, websocket_timeout_s=2.0))
    left.world.routing, left.world.answering[Slot.GREEN] = Routing(Slot.BLUE), InFlight(0, 2)
    event, at_s = left.perform(Phase.UNWINDING)
    assert event is Drained
    assert at_s == pytest.approx(2.0, abs=0.08)


def test_the_more_websockets_stay_the_longer_it_takes_until_all_replicas_are_told() -> None:
    assert [goodbye_s(InFlight(9, sockets)) for sockets in (0, 50, 1000, 60_000)] == [0, 0.5, 10, 30]
    left = Left([(0, InFlight(0, 500))])
    left.world.drained.add(Slot.BLUE)
    assert left.perform(Phase.RETIRING)[0] is Retired
    assert left.world.told_over_s == 5
