"""A site's routing as files: what nginx finds, and when it may find another slot."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.adapters.routing import REMEMBERED_S, Kept, RoutingFiles, routing_from_flag
from gateway.core.model import Routing, Slot
from gateway.errors import Failed

BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)
EVERY = [
    Routing(),
    *(
        Routing(slot, release=release, held=held, **kind)  # type: ignore[arg-type]
        for slot in Slot
        for release, held in ((None, None), ("r7", None), ("r7", "r6"))
        for kind in ({}, {"observed": True}, {"awake": True}, {"warm": True}, {"ready": True}, {"share": 10})
    ),
    Routing(Slot.BLUE, awake=True, narrowed=Slot.BLUE, within=3),
    Routing(Slot.BLUE, share=25, narrowed=Slot.GREEN, within=100),
]


class Files:
    """RoutingFiles whose clock stands still unless they wait; `waits` says what was shown meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.at, self.waits = 100.0, []  # type: float, list[tuple[str, float]]
        self.folder = folder / "live"
        self.files = self.again(folder)

    def again(self, folder: Path) -> RoutingFiles:
        return RoutingFiles(folder / "live", folder, now=lambda: self.at, sleep=self._wait)

    def _wait(self, seconds: float) -> None:
        if seconds:
            self.waits.append(((self.folder / "shop").readlink().name, round(seconds, 3)))
            self.at += seconds

    def kind(self, name: str) -> str:
        mode = (self.folder / "shop" / name).stat().st_mode
        return {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFIFO: "pipe"}[stat.S_IFMT(mode)]


@pytest.fixture
def made(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("routing", EVERY, ids=lambda routing: routing.flag)
def test_what_is_published_is_what_is_shown_and_kept(made: Files, routing: Routing) -> None:
    made.files.publish("shop", routing)
    assert made.files.shown("shop").routing == made.files.kept("shop").routing == routing
    assert routing_from_flag(routing.flag) == routing


@pytest.mark.parametrize(
    "flag", ["", "red", "blue-canary-0", "blue-awake-observed", "blue.r0", "blue/..", "r1"]
)
def test_what_is_no_routing_is_refused(flag: str) -> None:
    with pytest.raises(Failed, match="is no routing"):
        routing_from_flag(flag)


@pytest.mark.parametrize("routing", EVERY, ids=lambda routing: routing.flag)
def test_nginx_finds_by_kind_who_serves_only_as_long_as_nothing_is_happening(
    made: Files, routing: Routing
) -> None:
    steady = {Slot.BLUE: "file", Slot.GREEN: "directory", None: "pipe"}
    made.files.publish("shop", routing)
    kind = steady[routing.slot] if routing.is_steady else "pipe"
    assert made.kind("slot") == ("pipe" if routing.release else kind)
    if routing.is_steady and routing.release:
        assert made.kind(routing.release) == kind
    else:
        assert [path.name for path in (made.folder / "shop").iterdir()] == ["slot"]


LEFT_OR_WATCHED = [GREEN, Routing(), Routing(Slot.GREEN, observed=True), Routing(Slot.BLUE, observed=True)]


@pytest.mark.parametrize("after", LEFT_OR_WATCHED, ids=lambda routing: routing.flag)
def test_a_steady_slot_is_left_or_watched_only_when_nginx_has_forgotten_it(
    made: Files, after: Routing
) -> None:
    made.files.publish("shop", BLUE)
    made.files.publish("shop", after)
    assert made.waits == [("blue-awake", REMEMBERED_S)]
    assert made.files.shown("shop").routing == after


def test_what_was_awake_for_long_enough_is_left_at_once(made: Files) -> None:
    made.files.publish("shop", BLUE)
    made.files.publish("shop", Routing(Slot.BLUE, awake=True))
    made.at += 0.4
    made.files.publish("shop", Routing(Slot.BLUE, share=10))
    assert made.waits == [("blue-awake", round(REMEMBERED_S - 0.4, 3))]
    made.files.publish("shop", Routing(Slot.GREEN, observed=True))
    made.files.publish("shop", Routing(Slot.BLUE, awake=True))  # back, in the same moment
    assert len(made.waits) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (BLUE, Routing(Slot.BLUE, awake=True)),
        (Routing(Slot.BLUE, observed=True), BLUE),
        (Routing(), GREEN),
        (BLUE, BLUE),
    ],
    ids=lambda routing: routing.flag,
)
def test_nobody_waits_where_the_slot_stays(made: Files, before: Routing, after: Routing) -> None:
    made.files.publish("shop", before)
    made.files.publish("shop", after)
    assert made.waits == []


def test_after_a_restart_nobody_knows_for_how_long_nginx_was_awake(made: Files, tmp_path: Path) -> None:
    made.files.publish("shop", Routing(Slot.BLUE, awake=True))
    made.at += 100
    made.again(tmp_path).publish("shop", GREEN)
    assert made.waits == [("blue-awake", REMEMBERED_S)]


def test_what_no_version_of_ours_wrote_is_written_over(made: Files) -> None:
    made.files.publish("shop", BLUE)
    (made.folder / "shop").unlink()
    (made.folder / "shop").symlink_to(".states/purple")
    made.files.publish("shop", GREEN)
    assert made.files.shown("shop").routing == GREEN


def test_sites_that_are_published_at_the_same_time_find_the_state_whole(tmp_path: Path) -> None:
    files = RoutingFiles(tmp_path / "live", tmp_path, sleep=lambda seconds: None)
    sites = [f"s{number}" for number in range(32)]
    for routing in EVERY:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda site, routing=routing: files.publish(site, routing), sites))
        state = tmp_path / "live" / ".states" / routing.flag
        assert (state / "slot").exists()
    assert not list((tmp_path / "live" / ".states").glob(".*.new"))


def test_two_processes_that_settle_a_site_do_not_trip_over_each_other(
    made: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that was just started again, and whoever publishes meanwhile."""
    made.files.publish("shop", Routing(Slot.BLUE, awake=True))
    made.at += 100
    other, link_to = made.again(tmp_path), Path.symlink_to

    def both(link: Path, target: str) -> None:
        link_to(link, target)
        monkeypatch.undo()
        other.enter_service()

    monkeypatch.setattr(Path, "symlink_to", both)
    made.files.publish("shop", GREEN)
    assert made.files.shown("shop").routing == GREEN
    assert not list(made.folder.glob(".*.new"))


def test_what_is_published_while_a_new_site_is_shown_stays(made: Files) -> None:
    publish = threading.Thread(target=made.files.publish, args=("shop", BLUE))
    kept = made.files.kept

    def then_published(site: str) -> Kept:
        found = kept(site)
        if not publish.ident:
            publish.start()
            publish.join(timeout=0.2)  # as far as it comes
        return found

    made.files.kept = then_published  # type: ignore[method-assign]
    made.files.show_missing(["shop"])
    publish.join()
    assert made.files.shown("shop").routing == BLUE
