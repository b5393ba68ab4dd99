"""What the acceptance test makes of its clients' exchanges."""

from __future__ import annotations

import pytest

from tests.e2e.kinds.clients import Exchange
from tests.e2e.kinds.judge import Switch, drain_late_s, in_flight, misplaced, switch

ONE = Switch(1, ordered_at=10.0, confirmed_at=10.1, draining_at=10.3, drained_at=12.0)
TWO = Switch(2, ordered_at=20.0, confirmed_at=20.1, draining_at=20.3, drained_at=22.0)


def exchange(sent: float, ended: float, deploy: int) -> Exchange:
    return Exchange("a kind", sent, ended, deploy)


@pytest.mark.parametrize(
    ("sent", "ended", "deploys"),
    [
        (5.0, 6.0, {0}),
        (5.0, 15.0, {0, 1}),  # it may have arrived late
        (10.05, 10.06, {0, 1}),
        (10.2, 10.3, {1}),
        (15.0, 21.0, {1, 2}),
        (21.0, 22.0, {2}),
    ],
)
def test_an_exchange_is_misplaced_on_a_release_left_before_or_switched_to_after_it(
    sent: float, ended: float, deploys: set[int]
) -> None:
    right = {n for n in range(4) if not misplaced([exchange(sent, ended, n)], [ONE, TWO])}
    assert right == deploys


def test_a_drain_is_late_after_the_last_exchange_of_the_release_that_is_left() -> None:
    seen = [exchange(9.0, 11.0, 0), exchange(9.0, 11.75, 0), exchange(10.2, 11.9, 1)]
    assert drain_late_s(seen, ONE) == 0.25
    assert drain_late_s([exchange(9.0, 13.0, 0)], ONE) == -1.0  # it ended too soon


def test_a_drain_that_found_nothing_is_late_from_its_beginning() -> None:
    assert drain_late_s([exchange(1.0, 2.0, 0)], TWO) == pytest.approx(1.7)


def test_in_flight_is_what_began_before_the_switch_and_went_on_while_draining() -> None:
    seen = [exchange(9.0, 10.2, 0), exchange(9.9, 10.4, 0), exchange(10.05, 11.0, 1)]
    assert in_flight(seen, ONE) == [seen[1]]


def test_a_switch_is_read_from_the_timeline() -> None:
    phases = {"cutover": 10.0, "observing": 10.1, "draining": 10.3, "keeping": 12.0}
    timeline = [{"phase": phase, "at": at} for phase, at in phases.items()]
    assert switch(1, {"timeline": timeline}) == ONE
