"""How replicas are replaced in batches: pure decisions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.model import Deployment, Kind, Phase, Routing, Scale, Slot
from gateway.core.rolling import (
    START_FIRST,
    STOP_FIRST,
    UpdateConfig,
    backward,
    forward,
    goes_on_without,
    is_last,
    problems,
    replicas,
    scales,
    update_config,
    watch_s,
)

FOUR = scales(4, 4, UpdateConfig())
DEPLOYMENT = Deployment(
    1, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.STEPPING, 0.0, scales=FOUR, scaled=0
)


def service(**config: Any) -> dict[str, Any]:
    return {"deploy": {"replicas": 4, "update_config": config}}


def pairs(found: tuple[Scale, ...]) -> list[tuple[int, int]]:
    return [(one.candidate, one.live) for one in found]


def test_one_by_one_and_first_started_then_stopped() -> None:
    assert pairs(FOUR) == [(0, 4), (1, 4), (1, 3), (2, 3), (2, 2), (3, 2), (3, 1), (4, 1)]


def test_two_by_two_and_first_stopped_then_started() -> None:
    found = scales(4, 4, UpdateConfig(parallelism=2, order=STOP_FIRST))
    assert pairs(found) == [(0, 4), (0, 2), (2, 2), (2, 0), (4, 0)]


def test_a_parallelism_of_nothing_means_all() -> None:
    assert pairs(scales(3, 3, UpdateConfig(parallelism=0))) == [(0, 3), (3, 3)]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 31), st.sampled_from([START_FIRST, STOP_FIRST]))
def test_memory_and_capacity_stay_within_a_batch(
    live: int, candidate: int, parallelism: int, order: str
) -> None:
    step = parallelism or max(live, candidate)
    if order == STOP_FIRST and step >= candidate:
        return  # refused, see below
    found = scales(live, candidate, UpdateConfig(parallelism=parallelism, order=order))
    assert found[0] == Scale(0, live)
    assert found[-1].candidate == candidate
    start_first = order == START_FIRST
    for before, after in pairwise(found):
        assert (before.candidate == after.candidate) != (before.live == after.live)
        assert after.candidate >= before.candidate
        assert after.live <= before.live
        assert after.candidate + after.live > 0
    for one in found[:-1] if candidate != live else found:
        assert one.candidate + one.live <= max(live, candidate) + (step if start_first else 0)
        assert one.candidate + one.live >= min(live, candidate) - (0 if start_first else step)


def test_swarms_words_are_read_as_compose_writes_them() -> None:
    said = service(parallelism=2, delay="1m30s", order="stop-first", monitor="500ms", failure_action="pause")
    assert update_config(said) == UpdateConfig(2, 90.0, STOP_FIRST, 0.5, "pause")
    assert update_config({}) == UpdateConfig(1, 0.0, START_FIRST, 5.0, "rollback")
    assert list(problems("app", said)) == []


@pytest.mark.parametrize(
    ("said", "count"), [({}, 1), ({"scale": 0}, 0), ({"scale": 3}, 3), (service(), 4), ({"deploy": {}}, 1)]
)
def test_how_many_replicas_a_service_has(said: dict[str, Any], count: int) -> None:
    assert replicas(said) == count


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (service(order="sideways"), "order"),
        (service(order="stop-first", parallelism=4), "would stop 4 of 4 replicas"),
        (service(order="stop-first", parallelism=0), "would stop all of 4"),
        ({"deploy": {"update_config": {"order": "stop-first"}}}, "would stop 1 of 1"),
        (service(failure_action="shrug"), "failure_action='shrug'"),
        (service(max_failure_ratio=1.1), "max_failure_ratio=1.1"),
        ({"scale": 0}, "0 replicas"),
        ({"scale": 101}, "101 replicas"),
    ],
)
def test_what_would_lose_requests_is_refused(said: dict[str, Any], word: str) -> None:
    found, *more = problems("app", said)
    assert more == []
    assert found.startswith("service 'app': ")
    assert word in found


@pytest.mark.parametrize(
    ("failed", "aside", "config", "goes_on"),
    [
        ({2}, 0, UpdateConfig(), False),
        ({2}, 0, UpdateConfig(max_failure_ratio=0.25), True),
        ({2}, 1, UpdateConfig(max_failure_ratio=0.25), False),
        ({2, 3}, 0, UpdateConfig(max_failure_ratio=0.25), False),
        ({2, 3}, 1, UpdateConfig(failure_action="continue"), True),
        ({1}, 0, UpdateConfig(failure_action="continue", max_failure_ratio=1.0), False),
        (set(), 0, UpdateConfig(failure_action="continue"), False),
    ],
)
def test_as_many_of_four_may_fail_as_the_stack_says_but_never_the_first(
    failed: set[int],
    aside: int,
    config: UpdateConfig,
    goes_on: bool,  # noqa: FBT001
) -> None:
    assert goes_on_without(failed, aside, 4, config) is goes_on


def test_visitors_are_sent_in_proportion_and_never_to_what_starts_or_stops() -> None:
    steps = [forward(replace(DEPLOYMENT, scaled=n)) for n in range(len(FOUR) - 1)]
    assert [(s.slot, s.below, s.to, s.meanwhile.flag, s.then.flag) for s in steps[:3]] == [
        ("green", 0, 1, "blue-awake", "blue-canary-20"),
        ("blue", 3, 3, "blue-canary-25--blue-3", "blue-canary-25"),
        ("green", 1, 2, "blue-canary-25--green-1", "blue-canary-40"),
    ]


def test_where_the_live_release_is_stopped_to_its_last_replica_the_candidate_has_all() -> None:
    found = scales(2, 2, UpdateConfig(order=STOP_FIRST))
    steps = [forward(replace(DEPLOYMENT, scales=found, scaled=n)) for n in range(len(found) - 1)]
    assert [(s.slot, s.meanwhile, s.then) for s in steps[2:]] == [
        ("blue", Routing(Slot.GREEN, observed=True), Routing(Slot.GREEN, observed=True)),
        (
            "green",
            Routing(Slot.GREEN, observed=True, narrowed=Slot.GREEN, within=1),
            Routing(Slot.GREEN, observed=True),
        ),
    ]


def test_on_the_way_back_the_candidate_gets_only_what_the_live_release_can_t_take() -> None:
    steps = [backward(replace(DEPLOYMENT, scaled=n)) for n in reversed(range(4))]
    assert [(s.slot, s.below, s.to, s.meanwhile.flag, s.then.flag) for s in steps] == [
        ("blue", 2, 3, "blue-canary-50--blue-2", "blue-canary-25"),
        ("green", 1, 1, "blue-canary-25--green-1", "blue-canary-25"),
        ("blue", 3, 4, "blue-canary-25--blue-3", "blue-awake"),
        ("green", 0, 0, "blue-awake", "blue-awake"),
    ]


def test_a_batch_is_watched_and_a_delay_is_waited_for_between_batches_only() -> None:
    config = UpdateConfig(delay_s=30.0, monitor_s=5.0)
    watched = [watch_s(replace(DEPLOYMENT, scaled=n), config) for n in range(len(FOUR) - 1)]
    assert watched == [30.0, 0.0, 30.0, 0.0, 30.0, 0.0, 5.0]
    assert is_last(replace(DEPLOYMENT, scaled=6))
    assert watch_s(replace(DEPLOYMENT, kind=Kind.ROLLBACK), config) == 0
