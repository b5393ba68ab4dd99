"""Of several controllers one leads, and what it saved is what the next one finds, in a real Swarm."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from bench.nodes import Node
from gateway.adapters.leadership import CHUNK, HELD_FOR_S, TAKEN_AFTER_S, Leadership
from gateway.errors import EngineError

pytestmark = pytest.mark.docker


class Time:
    now = 0.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def another(
    nodes: list[Node], time: Time, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Leadership]]:
    """Controllers of one gateway, on the first node."""
    monkeypatch.setenv("DOCKER_HOST", nodes[0].host)
    network = f"n{uuid.uuid4().hex[:8]}"
    yield lambda: Leadership(network, now=lambda: time.now)
    for config in nodes[0].docker("config", "ls", "--format", "{{.Name}}").split():
        if config.startswith(network):
            nodes[0].docker("config", "rm", config)


def test_one_leads_and_the_other_knows_where(another: Callable[[], Leadership]) -> None:
    first, second = another(), another()
    assert first.seek() == 1
    assert second.seek() is None
    assert (first.leads, second.leads) == (True, False)
    assert second.leader == "node1"


def test_what_was_handed_over_is_taken_at_once_in_a_later_term(another: Callable[[], Leadership]) -> None:
    first, second = another(), another()
    first.seek()
    first.hand_over()
    assert not first.leads
    assert second.seek() == 2


def test_one_that_is_silent_has_stopped_leading_before_another_begins(
    another: Callable[[], Leadership], time: Time
) -> None:
    first, second = another(), another()
    first.seek()
    assert second.seek() is None
    time.now = HELD_FOR_S
    assert not first.leads
    assert second.seek() is None
    time.now = TAKEN_AFTER_S
    assert second.seek() == 2


def test_one_that_renews_goes_on_leading(another: Callable[[], Leadership], time: Time) -> None:
    first, second = another(), another()
    first.seek()
    for _ in range(3):
        assert second.seek() is None
        time.now += TAKEN_AFTER_S - 1
        first.renew()
        assert first.leads


def test_who_was_replaced_can_neither_renew_nor_save(another: Callable[[], Leadership], time: Time) -> None:
    first, second = another(), another()
    first.seek()
    second.seek()
    time.now = TAKEN_AFTER_S
    second.seek()
    second.save(b"newer")
    for act in (first.renew, lambda: first.save(b"older"), first.hand_over):
        with pytest.raises(EngineError, match="another controller leads"):
            act()
    assert second.load() == b"newer"


@pytest.mark.parametrize("size", [1, 3 * CHUNK - 2000])  # what is random grows as it is packed
def test_what_is_saved_is_what_the_next_one_finds_and_nothing_else_stays(
    another: Callable[[], Leadership], nodes: list[Node], size: int
) -> None:
    first, second = another(), another()
    first.seek()
    assert first.load() == b""
    first.save(b"before")
    first.save(data := os.urandom(size))
    first.hand_over()
    second.seek()
    assert second.load() == data
    names = nodes[0].docker("config", "ls", "--format", "{{.Name}}").split()
    mine = [name for name in names if name.startswith(second._name())]
    assert len(mine) == 1 + -(-size // CHUNK)
