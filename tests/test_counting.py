"""How a count is found by questions that are answered with yes or no."""

from __future__ import annotations

import pytest

from gateway.adapters.counting import highest
from gateway.adapters.render import FEWER_THAN

RUNGS = len(FEWER_THAN)


def found(true: int, near: int) -> tuple[int, int]:
    """What is found, and in how many questions."""
    asked: list[int] = []

    def is_reached(at: int) -> bool:
        asked.append(at)
        return at < true

    return highest(is_reached, near=near), len(asked)


@pytest.mark.parametrize("true", [0, 1, 2, 63, 64, 65, 999, 1000, 1001, 1020, RUNGS - 1, RUNGS])
def test_the_count_is_found_wherever_the_search_begins(true: int) -> None:
    for near in range(RUNGS + 1):
        assert found(true, near)[0] == true


def test_a_look_at_what_has_not_changed_takes_one_question_or_two() -> None:
    assert found(0, 0) == (0, 1)
    assert max(found(true, true)[1] for true in range(RUNGS + 1)) == 2


def test_a_look_at_what_has_changed_much_takes_no_more_than_25() -> None:
    worst = max(found(true, near)[1] for true in range(0, RUNGS + 1, 7) for near in (0, true, RUNGS))
    assert worst <= 25
