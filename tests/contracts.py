"""What is true of each implementation of a port, the simulated one and the real one.

Subclasses bring the fixtures: the port itself, and `world`, which is what happens around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import pytest

from gateway.core import policy, stack
from gateway.core.admission import Admission, Door
from gateway.core.model import (
    Deployment,
    Hook,
    HookRun,
    InFlight,
    Kind,
    Phase,
    Release,
    Replica,
    Routing,
    Sample,
    Site,
    Slot,
    Strategy,
)
from gateway.errors import EngineError, EngineUnreachable, ProxyError, StackInvalid
from gateway.ports import Clock, Engine, Jobs, Proxy

ROUTINGS = (
    Routing(),
    *(Routing(slot, observed=observed) for slot in Slot for observed in (False, True)),
    Routing(Slot.BLUE, share=10),
    Routing(Slot.GREEN, release="r2", held="r1"),
)
BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)
LOG_LINES = 30


def eventually(clock: Clock, holds: Callable[[], bool], *, within_s: float = 30.0) -> None:
    until = clock.now() + within_s
    while not holds():
        assert clock.now() < until, f"not within {within_s:g} s"
        clock.sleep(0.02)


class Around(Protocol):
    """An nginx with an application in both slots and no visitors but these."""

    clock: Clock

    def ask(self, statuses: Sequence[int]) -> None:
        """A request each, which the application answers so."""

    def answering(self, left: InFlight) -> AbstractContextManager[None]:
        """So many that the slot which serves now goes on answering."""

    def empty(self, slot: Slot) -> AbstractContextManager[None]:
        """Nothing runs in the slot."""

    def silent(self) -> AbstractContextManager[Proxy]:
        """The same proxy while its nginx does not answer."""


class ProxyContract:
    @pytest.mark.parametrize("routing", ROUTINGS, ids=lambda r: r.flag)
    def test_what_is_published_is_what_is_served(self, proxy: Proxy, site: Site, routing: Routing) -> None:
        proxy.publish(site, routing)
        assert proxy.serving(site) == routing

    @pytest.mark.parametrize("routing", ROUTINGS, ids=lambda r: r.flag)
    def test_publishing_twice_is_harmless(self, proxy: Proxy, site: Site, routing: Routing) -> None:
        for _ in range(2):
            proxy.publish(site, routing)
            assert proxy.serving(site) == routing

    def test_a_site_that_nginx_does_not_know_is_an_error_and_not_nothing(
        self, proxy: Proxy, site: Site
    ) -> None:
        with pytest.raises(ProxyError, match="stranger"):
            proxy.serving(replace(site, name="stranger"))

    def test_an_nginx_that_does_not_answer_says_nothing_at_all(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        proxy.publish(site, BLUE)
        with world.silent() as silent:
            with pytest.raises(ProxyError):
                silent.serving(site)
            with pytest.raises(ProxyError):
                silent.admission(site)
            with pytest.raises(ProxyError):
                silent.in_flight(site, Slot.BLUE)
            found = silent.probe(site, Slot.BLUE)
        assert (found.ok, found.status) == (False, None)
        assert found.detail

    def test_an_order_is_taken_while_nginx_does_not_answer(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        """It does not confirm, so "could not be asked" never means "was not ordered"."""
        proxy.publish(site, BLUE)
        with world.silent() as silent:
            silent.publish(site, GREEN)
        assert proxy.serving(site) == GREEN

    @pytest.mark.parametrize("door", Door)
    def test_who_is_let_in_is_as_ordered_and_changes_nothing_of_the_routing(
        self, proxy: Proxy, site: Site, world: Around, door: Door
    ) -> None:
        routing = Routing(Slot.GREEN, release="r2", held="r1")
        proxy.publish(site, routing)
        until = round(world.clock.now()) + 60.0 if door is Door.PAUSED else 0.0
        for _ in range(2):
            proxy.admit(site, Admission(door, until))
            found = proxy.admission(site)
            assert found.door is door
            assert until <= found.until <= until + (2 if until else 0)  # it counts from when it holds
        proxy.publish(site, GREEN)
        assert (proxy.serving(site), proxy.admission(site)) == (GREEN, found)
        proxy.admit(site, Admission())
        assert (proxy.serving(site), proxy.admission(site)) == (GREEN, Admission())

    def test_a_switch_ends_a_pause_for_good_but_not_a_maintenance(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        for order, left in (
            (Admission(Door.PAUSED, round(world.clock.now()) + 60.0), Admission()),
            (Admission(Door.MAINTENANCE), Admission(Door.MAINTENANCE)),
        ):
            proxy.publish(site, BLUE)
            proxy.admit(site, order)
            for routing in (Routing(Slot.GREEN, observed=True), BLUE):
                proxy.publish(site, routing)
                assert (proxy.serving(site), proxy.admission(site)) == (routing, left)
        proxy.admit(site, Admission())

    def test_a_pause_ends_by_itself(self, proxy: Proxy, site: Site, world: Around) -> None:
        proxy.publish(site, BLUE)
        proxy.admit(site, Admission(Door.PAUSED, world.clock.now() + 0.5))
        assert proxy.admission(site).door is Door.PAUSED
        eventually(world.clock, lambda: proxy.admission(site) == Admission())

    def test_a_probe_passes_where_an_application_answers_before_any_visitor_comes(
        self, proxy: Proxy, site: Site
    ) -> None:
        proxy.publish(site, BLUE)
        found = proxy.probe(site, Slot.GREEN)
        assert (found.ok, found.status) == (True, 200)

    def test_a_probe_of_an_empty_slot_fails_with_what_nginx_answers(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        proxy.publish(site, BLUE)
        with world.empty(Slot.GREEN):
            eventually(world.clock, lambda: proxy.probe(site, Slot.GREEN).status == 502)
            found = proxy.probe(site, Slot.GREEN)
        assert not found.ok
        assert found.detail

    def test_a_slot_without_requests_is_idle_whether_it_serves_or_not(self, proxy: Proxy, site: Site) -> None:
        proxy.publish(site, GREEN)
        proxy.publish(site, BLUE)
        assert [proxy.in_flight(site, slot) for slot in Slot] == [InFlight(), InFlight()]

    @pytest.mark.parametrize(
        "left",
        [InFlight(1), InFlight(0, 1), InFlight(7, 3), InFlight(100, 130)],
        ids=lambda left: str(left),
    )
    def test_what_is_in_flight_is_counted_across_a_switch_until_it_ends(
        self, proxy: Proxy, site: Site, world: Around, left: InFlight
    ) -> None:
        proxy.publish(site, BLUE)
        with world.answering(left):
            eventually(world.clock, lambda: proxy.in_flight(site, Slot.BLUE) == left)
            proxy.publish(site, GREEN)
            assert [proxy.in_flight(site, slot) for slot in Slot] == [left, InFlight()]
        eventually(world.clock, lambda: not proxy.in_flight(site, Slot.BLUE))

    def test_of_very_many_it_is_known_that_they_are_no_fewer(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        proxy.publish(site, BLUE)
        with world.answering(InFlight(0, InFlight.COUNTED + 50)):
            eventually(world.clock, lambda: proxy.in_flight(site, Slot.BLUE).sockets > InFlight.COUNTED)
            found = proxy.in_flight(site, Slot.BLUE)
        assert found.requests == 0
        assert found.sockets <= InFlight.COUNTED + 50

    def test_those_who_ask_do_not_count_one_another(self, proxy: Proxy, site: Site, world: Around) -> None:
        proxy.publish(site, BLUE)
        left = InFlight(3, 2)
        with world.answering(left), ThreadPoolExecutor(6) as pool:
            eventually(world.clock, lambda: proxy.in_flight(site, Slot.BLUE) == left)
            found = list(pool.map(lambda _: proxy.in_flight(site, Slot.BLUE), range(300)))
        assert set(found) == {left}

    def test_answers_are_counted_with_those_that_are_5xx(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        for slot in (Slot.GREEN, Slot.BLUE):
            proxy.publish(site, Routing(slot, observed=True))
        world.ask([200, 404, 500, 503])
        eventually(world.clock, lambda: proxy.sample(site, Slot.BLUE).requests >= 4)
        found = proxy.sample(site, Slot.BLUE)
        assert (found.requests, found.errors_5xx) == (4, 2)
        assert proxy.sample(site, Slot.GREEN).requests == 0

    def test_a_routing_that_is_published_as_observed_starts_its_sample_at_zero(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        for _ in range(2):
            proxy.publish(site, Routing(Slot.BLUE, observed=True))
            assert proxy.sample(site, Slot.BLUE) == Sample()
            world.ask([500])
            eventually(world.clock, lambda: proxy.sample(site, Slot.BLUE).requests == 1)

    def test_a_share_starts_the_samples_of_both_slots_at_zero(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        for slot in Slot:
            proxy.publish(site, Routing(slot, observed=True))
            world.ask([200])
            eventually(world.clock, lambda slot=slot: proxy.sample(site, slot).requests == 1)
        proxy.publish(site, Routing(Slot.BLUE, share=10))
        assert [proxy.sample(site, slot) for slot in Slot] == [Sample(), Sample()]

    def test_a_sample_can_still_be_read_when_the_routing_is_observed_no_more(
        self, proxy: Proxy, site: Site, world: Around
    ) -> None:
        proxy.publish(site, Routing(Slot.BLUE, observed=True))
        world.ask([200])
        eventually(world.clock, lambda: proxy.sample(site, Slot.BLUE).requests == 1)
        proxy.publish(site, BLUE)
        assert proxy.sample(site, Slot.BLUE).requests == 1


class Outside(Protocol):
    """A Docker Engine on which nothing of the site runs yet."""

    def unreachable(self) -> AbstractContextManager[Engine]:
        """The same engine while Docker does not answer."""

    def foreign(self, slot: Slot) -> AbstractContextManager[Callable[[], bool]]:
        """Somebody else's container under the slot's name; yields whether it is still there."""

    def fail(self, replica: Replica, slot: Slot) -> None:
        """The replica ends."""


class EngineContract:
    """`release`: one container of the site's service, which writes more lines than are shown."""

    def test_a_model_names_the_images_that_were_asked_for(self, engine: Engine, site: Site) -> None:
        model = engine.resolve(site, {site.service: "shop:7"}, {})
        assert model["services"][site.service]["image"] == "shop:7"

    def test_a_wrong_order_is_refused_with_all_that_is_wrong(self, engine: Engine, site: Site) -> None:
        with pytest.raises(StackInvalid) as refused:
            engine.resolve(site, {"nobody": "shop:7", site.service: "no image"}, {})
        assert len(refused.value.problems) == 2

    def test_an_empty_slot_has_no_replicas_and_no_logs(self, engine: Engine, site: Site) -> None:
        assert list(engine.replicas(site, Slot.BLUE)) == []
        assert dict(engine.logs(site, Slot.BLUE)) == {}

    def test_a_started_slot_has_running_replicas_of_the_serving_service(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        replicas = engine.replicas(site, Slot.BLUE)
        assert policy.running(replicas, site.service)
        assert policy.broken(replicas, site.service) == ""
        assert list(engine.replicas(site, Slot.GREEN)) == []

    def test_starting_twice_changes_nothing(
        self, engine: Engine, site: Site, release: Release, clock: Clock
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        eventually(clock, lambda: all(r.health != "starting" for r in engine.replicas(site, Slot.BLUE)))
        before = engine.replicas(site, Slot.BLUE)
        start(engine, site, Slot.BLUE, release)
        assert engine.replicas(site, Slot.BLUE) == before

    def test_stop_empties_the_slot_leaves_the_other_and_twice_is_harmless(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        for slot in Slot:
            start(engine, site, slot, release)
        for _ in range(2):
            engine.stop(site, Slot.BLUE)
            assert list(engine.replicas(site, Slot.BLUE)) == []
        assert policy.running(engine.replicas(site, Slot.GREEN), site.service)

    def test_a_slot_whose_replicas_are_told_one_after_the_other_is_empty_too(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        for _ in range(2):
            engine.stop(site, Slot.BLUE, over_s=1.0)
            assert list(engine.replicas(site, Slot.BLUE)) == []

    def test_logs_are_keyed_by_the_replicas_names_and_are_the_last_lines(
        self, engine: Engine, site: Site, release: Release, clock: Clock
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        names = {replica.name for replica in engine.replicas(site, Slot.BLUE)}
        eventually(clock, lambda: all(engine.logs(site, Slot.BLUE).values()))
        logs = engine.logs(site, Slot.BLUE)
        assert logs.keys() == names
        assert all(len(lines) <= LOG_LINES for lines in logs.values())

    def test_somebody_elses_containers_are_neither_started_over_nor_stopped(
        self, engine: Engine, site: Site, release: Release, world: Outside
    ) -> None:
        with world.foreign(Slot.BLUE) as is_there:
            with pytest.raises(EngineError):
                start(engine, site, Slot.BLUE, release)
            engine.stop(site, Slot.BLUE)
            assert is_there()

    def test_a_docker_that_does_not_answer_is_an_error_and_never_an_empty_slot(
        self, site: Site, release: Release, world: Outside
    ) -> None:
        with world.unreachable() as engine:
            with pytest.raises(EngineUnreachable):
                engine.replicas(site, Slot.BLUE)
            with pytest.raises(EngineUnreachable):
                engine.logs(site, Slot.BLUE)
            with pytest.raises(EngineUnreachable):
                engine.stop(site, Slot.BLUE)
            with pytest.raises(EngineUnreachable):
                start(engine, site, Slot.BLUE, release)


class RollingContract:
    """Of an engine that can say which replica goes. `release`: as for EngineContract."""

    def test_replicas_come_and_go_by_their_numbers_and_the_lowest_stay(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        site = replace(site, strategy=Strategy.ROLLING)
        three = replace(release, stack=stack.scaled(dict(release.stack), site.service, 3))
        engine.start(site, Slot.BLUE, three, cancelled=lambda: False, replicas=0)
        for count in (2, 2, 3, 1, 0, 3):
            engine.scale(site, Slot.BLUE, three, count, cancelled=lambda: False)
            found = engine.replicas(site, Slot.BLUE)
            assert sorted(replica.number for replica in found) == [*range(1, count + 1)]
            assert policy.numbered(found, site.service) == count
        assert list(engine.replicas(site, Slot.GREEN)) == []

    def test_what_is_set_aside_keeps_its_number_is_no_fault_and_stays_so_until_it_is_gone(
        self, engine: Engine, site: Site, release: Release, world: Outside
    ) -> None:
        site = replace(site, strategy=Strategy.ROLLING)
        three = replace(release, stack=stack.scaled(dict(release.stack), site.service, 3))

        def scaled(count: int) -> list[Replica]:
            engine.scale(site, Slot.BLUE, three, count, cancelled=lambda: False)
            return sorted(engine.replicas(site, Slot.BLUE), key=lambda replica: replica.number)

        engine.start(site, Slot.BLUE, three, cancelled=lambda: False, replicas=0)
        world.fail(scaled(2)[1], Slot.BLUE)
        for _ in range(2):
            engine.set_aside(site, Slot.BLUE, [2])
        found = scaled(3)
        assert [replica.aside for replica in found] == [False, True, False]
        assert (policy.broken(found, site.service), policy.numbered(found, site.service)) == ("", 3)
        scaled(1)
        again = scaled(2)
        assert [(replica.aside, replica.state) for replica in again] == [(False, "running")] * 2

    def test_somebody_elses_containers_are_not_scaled(
        self, engine: Engine, site: Site, release: Release, world: Outside
    ) -> None:
        with world.foreign(Slot.BLUE) as is_there:
            with pytest.raises(EngineError):
                engine.scale(site, Slot.BLUE, release, 0, cancelled=lambda: False)
            with pytest.raises(EngineError):
                engine.set_aside(site, Slot.BLUE, [1])
            assert is_there()

    def test_scaling_on_a_docker_that_does_not_answer_is_an_error(
        self, site: Site, release: Release, world: Outside
    ) -> None:
        with world.unreachable() as engine:
            with pytest.raises(EngineUnreachable):
                engine.scale(site, Slot.BLUE, release, 1, cancelled=lambda: False)
            with pytest.raises(EngineUnreachable):
                engine.set_aside(site, Slot.BLUE, [2])


def start(engine: Engine, site: Site, slot: Slot, release: Release) -> None:
    engine.start(site, slot, release, cancelled=lambda: False)


class Stacks(Protocol):
    """A Docker Engine, and what can be seen of a site's stacks on it without asking the port."""

    def schedulers(self) -> set[Slot]:
        """Where one runs."""

    def runs(self, hook: Hook) -> int:
        """How often the hook was begun, in all deployments."""

    def unreachable(self) -> AbstractContextManager[Jobs]:
        """The same jobs while Docker does not answer."""


class JobsContract:
    """`release`: an application, a worker for some moments, a scheduler, and hooks that all end quickly.

    `expand` exits with 0 after a last line "done", `contract` with 3.
    """

    def test_a_hook_is_run_once_however_often_that_is_asked_for(
        self, jobs: Jobs, site: Site, release: Release, clock: Clock, world: Stacks
    ) -> None:
        for _ in range(2):
            ended = run_hook(jobs, site, 1, release, Hook.EXPAND, clock)
            assert (ended.exit_code, ended.lines[-1]) == (0, "done")
        assert world.runs(Hook.EXPAND) == 1

    def test_a_hook_that_fails_says_so(self, jobs: Jobs, site: Site, release: Release, clock: Clock) -> None:
        assert run_hook(jobs, site, 1, release, Hook.CONTRACT, clock).exit_code == 3

    def test_a_hook_is_no_replica_and_leaves_nothing_when_it_is_forgotten(
        self, jobs: Jobs, engine: Engine, site: Site, release: Release, clock: Clock
    ) -> None:
        run_hook(jobs, site, 1, release, Hook.EXPAND, clock)
        assert list(engine.replicas(site, Slot.BLUE)) == []
        for _ in range(2):
            jobs.forget_hook(site, deployment(site, 1), Hook.EXPAND)
            assert dict(engine.logs(site, Slot.BLUE)) == {}

    def test_the_next_deployment_runs_its_hooks_anew_even_if_nothing_was_forgotten(
        self, jobs: Jobs, site: Site, release: Release, clock: Clock, world: Stacks
    ) -> None:
        for number in (1, 2):
            assert run_hook(jobs, site, number, release, Hook.EXPAND, clock).exit_code == 0
        assert world.runs(Hook.EXPAND) == 2

    def test_schedulers_follow_and_never_run_twice(
        self, jobs: Jobs, engine: Engine, site: Site, release: Release, world: Stacks
    ) -> None:
        for slot in Slot:
            start(engine, site, slot, release)
        assert world.schedulers() == set()
        for slot in (Slot.BLUE, Slot.BLUE, Slot.GREEN, Slot.BLUE):
            jobs.schedule(site, slot)
            assert world.schedulers() == {slot}
        jobs.schedule(site, None)
        assert world.schedulers() == set()

    def test_workers_that_were_told_are_busy_until_they_have_finished(
        self, jobs: Jobs, engine: Engine, site: Site, release: Release, clock: Clock
    ) -> None:
        for slot in Slot:
            start(engine, site, slot, release)
        limits = jobs.quiesce(site, Slot.BLUE)
        assert set(jobs.busy(site, Slot.BLUE)) == limits.keys() != set()
        assert all(limit > 0 for limit in limits.values())
        eventually(clock, lambda: not jobs.busy(site, Slot.BLUE))

    def test_an_empty_slot_has_no_workers(self, jobs: Jobs, site: Site) -> None:
        assert dict(jobs.quiesce(site, Slot.BLUE)) == {}
        assert list(jobs.busy(site, Slot.BLUE)) == []

    def test_jobs_on_a_docker_that_does_not_answer_are_an_error(
        self, site: Site, release: Release, world: Stacks
    ) -> None:
        with world.unreachable() as jobs:
            for ask in (jobs.quiesce, jobs.busy, jobs.schedule):
                with pytest.raises(EngineUnreachable):
                    ask(site, Slot.BLUE)
            with pytest.raises(EngineUnreachable):
                jobs.forget_hook(site, deployment(site, 1), Hook.EXPAND)
            with pytest.raises(EngineUnreachable):
                jobs.run_hook(site, deployment(site, 1), release, Hook.EXPAND, cancelled=lambda: False)


def deployment(site: Site, number: int) -> Deployment:
    return Deployment(number, site.name, Kind.DEPLOY, "r1", Slot.BLUE, None, Phase.EXPANDING, 0.0)


def run_hook(jobs: Jobs, site: Site, number: int, release: Release, hook: Hook, clock: Clock) -> HookRun:
    """To its end."""
    found: list[HookRun] = []

    def ended() -> bool:
        run = jobs.run_hook(site, deployment(site, number), release, hook, cancelled=lambda: False)
        found.append(run)
        return run.exit_code is not None

    eventually(clock, ended)
    return found[-1]


class ClockContract:
    def test_time_goes_on_by_what_is_slept(self, clock: Clock) -> None:
        before = clock.now()
        clock.sleep(0.05)
        assert clock.now() - before >= 0.05 - 1e-6

    def test_less_than_nothing_can_be_slept(self, clock: Clock) -> None:
        before = clock.now()
        clock.sleep(-1.0)
        assert 0 <= clock.now() - before < 1
