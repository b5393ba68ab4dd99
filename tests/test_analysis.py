"""When a candidate's answers send it back, and how they are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.observed import LONGEST, ObservedAnswers
from gateway.core.model import Sample, Site
from gateway.core.policy import worse

SITE = Site("shop", ("shop.test",), "app", 80, "/stacks/shop.yaml", max_5xx_share=0.05, max_p95_ratio=3.0)
NOBODY = Sample()


def test_few_answers_prove_nothing_and_many_errors_do() -> None:
    assert worse(Sample(19, 19), NOBODY, SITE) == ""
    assert worse(Sample(100, 5), NOBODY, SITE) == ""
    assert "6 of 100 (6.0%) answers were 5xx (limit 5.0%)" in worse(Sample(100, 6), NOBODY, SITE)


def test_errors_that_the_live_release_has_too_are_not_the_candidates() -> None:
    assert worse(Sample(100, 20), Sample(900, 180), SITE) == ""
    assert "the live release 9 of 900 (1.0%)" in worse(Sample(100, 20), Sample(900, 9), SITE)


def test_a_live_release_with_few_answers_excuses_nothing() -> None:
    assert worse(Sample(100, 20), Sample(5, 5), SITE) != ""


def test_a_candidate_that_is_much_slower_than_the_live_release_goes() -> None:
    live = Sample(100, 0, p95_s=0.1)
    assert worse(Sample(100, 0, p95_s=0.34), live, SITE) == ""
    assert "up to 400 ms, the live release's 100 ms" in worse(Sample(100, 0, p95_s=0.4), live, SITE)
    assert worse(Sample(100, 0, p95_s=0.4), live, replace(SITE, max_p95_ratio=0.0)) == ""


def test_some_milliseconds_are_never_too_slow() -> None:
    assert worse(Sample(100, 0, p95_s=0.02), Sample(100, 0, p95_s=0.001), SITE) == ""


def test_without_a_live_release_beside_it_no_time_is_compared() -> None:
    assert worse(Sample(100, 0, p95_s=9.0), NOBODY, SITE) == ""


def test_a_candidate_that_is_not_reached_goes_even_where_nobody_notices() -> None:
    """nginx asks another container then."""
    assert worse(Sample(100, 0, 5), NOBODY, SITE) == ""
    assert worse(Sample(100, 0, 20), Sample(900, 0, 180), SITE) == ""
    assert "at 6 of 100 (6.0%) requests (limit 5.0%)" in worse(Sample(100, 0, 6), NOBODY, SITE)
    assert "at 9 of 900 (1.0%)" in worse(Sample(100, 0, 20), Sample(900, 0, 9), SITE)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "observed.log"


@pytest.fixture
def answers(log: Path) -> ObservedAnswers:
    return ObservedAnswers(log)


def say(log: Path, *lines: str) -> None:
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_an_answer_counts_for_its_slot_with_its_status(log: Path, answers: ObservedAnswers) -> None:
    say(log, *(f"shop_green {status} 0.010" for status in (200, 404, 500, 503)), "shop_blue 500 0.010")
    assert (answers.sample("shop_green").requests, answers.sample("shop_green").errors_5xx) == (4, 2)


def test_answers_count_from_the_reset_on(log: Path, answers: ObservedAnswers) -> None:
    say(log, "shop_green 500 0.010")
    answers.reset("shop_green")
    say(log, "shop_green 200 0.010")
    assert (answers.sample("shop_green").requests, answers.sample("shop_green").errors_5xx) == (1, 0)


def test_a_line_that_is_half_written_counts_once_it_is_whole(log: Path, answers: ObservedAnswers) -> None:
    log.write_text("shop_green 2")
    assert answers.sample("shop_green").requests == 0
    say(log, "00 0.010")
    assert answers.sample("shop_green") == Sample(1, 0, 0, pytest.approx(0.01, rel=0.06))


def test_ninety_five_percent_of_the_answers_were_as_fast_as_it_says(
    log: Path, answers: ObservedAnswers
) -> None:
    say(log, *(f"shop_green 200 {milliseconds / 1000:.3f}" for milliseconds in range(1, 1001)))
    assert answers.sample("shop_green").p95_s == pytest.approx(0.95, rel=0.06)


def test_a_request_that_was_tried_twice_counts_with_its_last_time(
    log: Path, answers: ObservedAnswers
) -> None:
    say(
        log,
        "shop_green 200 -, 0.100 / -, 0.001 / 502, 200",
        "shop_green 200 2.000, 0.100 / 0.000, 0.000 / 500, 200",
    )
    assert answers.sample("shop_green") == Sample(2, 0, 1, pytest.approx(0.1, rel=0.06))


def test_what_could_not_be_connected_to_is_no_error_of_the_application(
    log: Path, answers: ObservedAnswers
) -> None:
    say(
        log,
        "shop_green 502 - / - / 502",  # nobody there
        "shop_green 504 - / - / 504",  # not within the time for it
        "shop_green 502 - / 0.001 / 502",  # it hung up
        "shop_green 502 0.004 / 0.000 / 502",  # its own answer
        "shop_green 413 - / - / -",  # it was not asked
    )
    assert answers.sample("shop_green") == Sample(5, 4, 2, pytest.approx(0.004, rel=0.06))


def test_what_is_no_answer_counts_for_nothing(log: Path, answers: ObservedAnswers) -> None:
    say(log, "", "shop_green", "shop_green - -")
    assert answers.sample("shop_green") == Sample()


def test_before_nginx_has_made_the_file_nothing_was_answered(answers: ObservedAnswers) -> None:
    assert answers.sample("shop_green") == Sample()


def test_the_file_does_not_grow_for_ever(log: Path, answers: ObservedAnswers) -> None:
    line = "shop_green 200 0.010"
    for _ in range(3):
        say(log, *[line] * (LONGEST // len(line)))
        answers.sample("shop_green")
    assert log.stat().st_size < LONGEST
    assert answers.sample("shop_green").requests == 3 * (LONGEST // len(line))
