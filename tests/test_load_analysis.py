"""What the load client's records say, on records made by hand."""

from __future__ import annotations

import asyncio

import pytest

from bench.analysis import Record, Switch, analyse, first_answers, flat, percentile
from bench.load import Connection, Target
from bench.soak import growing, read_look


def answer(sent: float, release: str, *, took: float = 0.001, status: int | None = 200) -> Record:
    return Record(sent, sent + took, status, release if status else None)


TO_2 = [Switch("2", ordered_at=1.0)]


def test_a_clean_switch_has_nothing_lost_wrong_or_mixed() -> None:
    report = analyse([answer(0.5, "1"), answer(1.5, "2"), answer(1.6, "2")], TO_2)
    assert (report.requests, report.lost, report.wrong_release, report.mixed_window_ms) == (3, 0, 0, (0.0,))


@pytest.mark.parametrize("status", [None, 101, 302, 404, 499, 500, 502, 503])
def test_a_request_without_a_complete_2xx_answer_is_lost(status: int | None) -> None:
    records = [answer(0.5, "1"), answer(0.6, "1", status=status), answer(1.5, "2")]
    assert analyse(records, TO_2).lost == 1


def test_an_old_answer_to_a_request_sent_after_the_first_new_one_is_wrong() -> None:
    report = analyse([answer(1.5, "2"), answer(1.6, "1")], TO_2)
    assert report.wrong_release == 1


def test_an_old_answer_that_comes_late_to_a_request_sent_before_is_right() -> None:
    report = analyse([answer(1.4, "1", took=5.0), answer(1.5, "2")], TO_2)
    assert (report.wrong_release, report.mixed_window_ms) == (0, (0.0,))


def test_the_mixed_window_lasts_from_the_first_new_answer_to_the_last_old_request() -> None:
    records = [answer(1.5, "2", took=0.0), answer(1.55, "1"), answer(1.6, "1", took=9.0), answer(1.7, "2")]
    report = analyse(records, TO_2)
    assert report.wrong_release == 2
    assert report.mixed_window_ms_max == pytest.approx(100)


def test_the_mixed_window_belongs_to_its_own_switch() -> None:
    switches = [Switch("2", 1.0), Switch("3", 2.0)]
    records = [answer(1.5, "2"), answer(2.5, "3", took=0.0), answer(2.55, "2")]
    assert analyse(records, switches).mixed_window_ms == pytest.approx((0.0, 50.0))


def test_a_release_older_than_the_previous_one_is_wrong_too() -> None:
    switches = [Switch("2", 1.0), Switch("3", 2.0)]
    assert analyse([answer(1.5, "2"), answer(2.5, "3"), answer(2.6, "1")], switches).wrong_release == 1


def test_a_rollback_makes_the_old_release_right_again() -> None:
    switches = [Switch("2", 1.0), Switch("1", 2.0)]
    records = [answer(0.5, "1"), answer(1.5, "2"), answer(2.5, "1"), answer(2.6, "1")]
    assert analyse(records, switches).wrong_release == 0


def test_an_old_answer_before_the_rollback_is_wrong_though_that_release_comes_back() -> None:
    switches = [Switch("2", 1.0), Switch("1", 2.0)]
    records = [answer(1.5, "2"), answer(1.6, "1"), answer(2.5, "1")]
    report = analyse(records, switches)
    assert (report.wrong_release, report.mixed_window_ms) == (1, pytest.approx((99.0, 0.0)))


def test_the_release_rolled_back_is_wrong_after_the_rollback() -> None:
    switches = [Switch("2", 1.0), Switch("1", 2.0)]
    assert analyse([answer(1.5, "2"), answer(2.5, "1"), answer(2.6, "2")], switches).wrong_release == 1


def test_a_request_in_flight_across_a_switch_may_be_answered_by_the_newer_release() -> None:
    switches = [Switch("2", 1.0), Switch("3", 2.0)]
    records = [answer(1.5, "2"), answer(1.9, "3", took=0.2), answer(2.05, "3", took=0.01)]
    assert analyse(records, switches).wrong_release == 0


def test_a_complete_answer_of_nobody_known_is_wrong() -> None:
    assert analyse([answer(1.5, "2"), Record(1.6, 1.7, 200, None)], TO_2).wrong_release == 1


def test_a_lost_request_is_not_wrong_as_well() -> None:
    report = analyse([answer(1.5, "2"), answer(1.6, "1", status=500)], TO_2)
    assert (report.lost, report.wrong_release) == (1, 0)


def test_a_failed_answer_is_not_the_first_of_the_new_release() -> None:
    assert first_answers([answer(1.2, "2", status=500), answer(1.5, "2", took=0.0)], TO_2) == [1.5]


def test_a_switch_that_no_answer_shows_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(ValueError, match="release 2"):
        analyse([answer(0.5, "1"), answer(1.5, "1")], TO_2)


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(v) for v in range(1, 201)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (100.0, 198.0, 7.0)


def test_growth_beyond_the_tolerance_is_not_flat() -> None:
    assert flat([100, 100, 101, 99, 105, 104, 103, 106], share=0.1, absolute=0)
    assert not flat([100, 100, 110, 120, 130, 140, 150, 160], share=0.1, absolute=5)


def exchange_with(answer_: bytes) -> tuple[Record, int]:
    """One exchange with a server that gives this answer and hangs up; and how many requests it got."""
    got = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        got += 1
        writer.write(answer_)
        writer.close()

    async def run() -> Record:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            return await Connection(Target(host, port, "a.test")).exchange()

    return asyncio.run(run()), got


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"release": "1"}',
        b'HTTP/1.1 200 OK\r\n\r\n{"release": "1"}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ],
)
def test_a_torn_answer_is_lost_and_never_sent_again(torn: bytes) -> None:
    record, requests = exchange_with(torn)
    assert (record.complete, record.status, requests) == (False, None, 1)
    assert record.error


@pytest.mark.parametrize(
    "whole",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"release": "7"}',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"release": "7"}\r\n0\r\n\r\n',
    ],
)
def test_a_whole_answer_names_its_release(whole: bytes) -> None:
    record, _ = exchange_with(whole)
    assert (record.complete, record.release) == (True, "7")


def test_a_look_into_the_container_is_summed_by_role() -> None:
    seen = read_look(
        "process nginx 10 2048\nprocess nginx 12 1024\nprocess python3 20 51200\nprocess sh 4 900\n"
        "process tail\nfiles_tmp 3\nfiles_shm 7\nfiles_state 5\n"
    )
    assert (seen["nginx_descriptors"], seen["nginx_rss_mb"]) == (22, 3)
    assert (seen["controller_descriptors"], seen["controller_rss_mb"]) == (20, 50)
    assert (seen["files_tmp"], seen["files_shm"], seen["files_state"]) == (3, 7, 5)


def test_a_container_more_at_the_end_is_growth() -> None:
    steady = {**read_look(""), "containers": 3.0}
    assert growing([steady] * 8) == []
    assert growing([steady] * 6 + [{**steady, "containers": 4.0}] * 2) == ["containers"]
