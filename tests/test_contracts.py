"""The simulated world keeps the contracts that tests/docker/test_contracts.py holds the real adapters to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from gateway.adapters.clock import SystemClock
from gateway.core.model import Hook, InFlight, Release, Replica, Site, Slot
from gateway.ports import Clock, Engine, Jobs, Proxy
from tests.contracts import ClockContract, EngineContract, JobsContract, ProxyContract, RollingContract
from tests.simulation import MODEL, SITE, Scenario, SimulatedWorld


class Surroundings:
    """What the contracts want to happen around a simulated world."""

    def __init__(self, simulated: SimulatedWorld) -> None:
        self._simulated, self.clock = simulated, simulated

    def ask(self, statuses: Sequence[int]) -> None:
        slot = self._simulated.routing.slot
        assert slot is not None
        for status in statuses:
            self._simulated.answer(slot, 1, errors_5xx=int(status >= 500))

    @contextmanager
    def answering(self, left: InFlight) -> Iterator[None]:
        slot = self._simulated.routing.slot
        assert slot is not None
        self._simulated.answering[slot] = left
        yield
        del self._simulated.answering[slot]

    @contextmanager
    def empty(self, slot: Slot) -> Iterator[None]:
        self._simulated.running[slot] = None
        self._simulated.replicas_of.bring(slot, 0, 0.0)
        yield

    @contextmanager
    def silent(self) -> Iterator[Proxy]:
        self._simulated.nginx_answers = False
        yield self._simulated
        self._simulated.nginx_answers = True

    def schedulers(self) -> set[Slot]:
        return self._simulated.jobs.scheduled

    def runs(self, hook: Hook) -> int:
        return self._simulated.jobs.runs.count(hook)

    @contextmanager
    def unreachable(self) -> Iterator[SimulatedWorld]:
        self._simulated.docker_answers = False
        yield self._simulated

    @contextmanager
    def foreign(self, slot: Slot) -> Iterator[Callable[[], bool]]:
        self._simulated.foreign.add(slot)
        yield lambda: slot in self._simulated.foreign

    def fail(self, replica: Replica, slot: Slot) -> None:
        self._simulated.replicas_of.failed[slot].add(replica.number)


@pytest.fixture
def simulated() -> SimulatedWorld:
    """Without visitors; nothing is live, nothing runs."""
    return SimulatedWorld(Scenario(first=True), visited_always=False)


@pytest.fixture
def world(simulated: SimulatedWorld) -> Surroundings:
    return Surroundings(simulated)


@pytest.fixture
def site() -> Site:
    return SITE


class TestSimulatedProxy(ProxyContract):
    @pytest.fixture
    def proxy(self, simulated: SimulatedWorld) -> Proxy:
        simulated.running |= dict.fromkeys(Slot, "r1")
        for slot in Slot:
            simulated.replicas_of.fill(slot)
        return simulated


class OnSimulated:
    @pytest.fixture
    def engine(self, simulated: SimulatedWorld) -> Engine:
        return simulated

    @pytest.fixture
    def clock(self, simulated: SimulatedWorld) -> Clock:
        return simulated

    @pytest.fixture
    def release(self) -> Release:
        return Release(1, SITE.name, MODEL, {})


class TestSimulatedEngine(OnSimulated, EngineContract, RollingContract):
    @pytest.fixture
    def simulated(self, simulated: SimulatedWorld) -> SimulatedWorld:
        simulated.judged = False
        return simulated


class TestSimulatedJobs(OnSimulated, JobsContract):
    @pytest.fixture
    def simulated(self) -> SimulatedWorld:
        simulated = SimulatedWorld(
            Scenario(first=True, jobs=True, fault="contract fails"), visited_always=False
        )
        simulated.jobs.judged = False
        return simulated

    @pytest.fixture
    def jobs(self, simulated: SimulatedWorld) -> Jobs:
        return simulated


class TestSimulatedClock(ClockContract):
    @pytest.fixture
    def clock(self, simulated: SimulatedWorld) -> Clock:
        return simulated


class TestSystemClock(ClockContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()
