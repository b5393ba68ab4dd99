"""Who is let in to a site: what is ordered, what nginx finds, and what becomes of it after a kill."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.routing import REMEMBERED_S, RoutingFiles, Shown, shown_from_flag
from gateway.agent import hold as hold_module
from gateway.agent.hold import AT_ONCE, UNANSWERED, Hold, _Held, serve_for_ever
from gateway.core.admission import Admission, Door, Ordered
from gateway.core.model import ProbePolicy, Routing, Site, Slot
from gateway.core.serving import Protocol, Proxying
from gateway.errors import Failed

BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)
PAUSE, MAINTENANCE = Admission(Door.PAUSED, 100.0), Admission(Door.MAINTENANCE)
SITE = Site("shop", ("shop.test",), "app", 80, "/s.yaml")


@pytest.mark.parametrize(
    ("ordered", "live", "now", "left"),
    [
        (Ordered(PAUSE, Slot.BLUE), Slot.BLUE, 99.9, PAUSE),
        (Ordered(PAUSE, Slot.BLUE), Slot.BLUE, 100.0, Admission()),
        (Ordered(PAUSE, Slot.BLUE), Slot.GREEN, 0.0, Admission()),
        (Ordered(PAUSE, Slot.BLUE), None, 0.0, Admission()),
        (Ordered(MAINTENANCE, Slot.BLUE), Slot.GREEN, 1e9, MAINTENANCE),
        (Ordered(Admission(), Slot.BLUE), Slot.BLUE, 0.0, Admission()),
    ],
)
def test_a_pause_lasts_to_its_bound_or_the_next_switch_and_maintenance_until_it_is_ended(
    ordered: Ordered, live: Slot | None, now: float, left: Admission
) -> None:
    assert ordered.at(live, now=now) == left


@dataclass
class Now:
    """Two clocks in one: nobody sets it."""

    s: float = 0.0

    def __call__(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None:
        self.s += seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def files(tmp_path: Path, now: Now) -> RoutingFiles:
    files = RoutingFiles(tmp_path / "routing", tmp_path / "state", now=now, sleep=now.sleep, today=now)
    files.publish("shop", BLUE)
    return files


def test_nginx_forgets_a_steady_slot_before_its_site_is_closed(files: RoutingFiles, now: Now) -> None:
    """What it remembers it would go on sending requests to."""
    before = now.s
    files.admit("shop", PAUSE)
    assert now.s - before == pytest.approx(REMEMBERED_S)
    files.admit("shop", Admission())
    files.admit("shop", MAINTENANCE)
    assert now.s - before == pytest.approx(2 * REMEMBERED_S)
    closed_at = now.s
    files.publish("shop", GREEN)
    files.admit("shop", Admission())
    assert now.s == closed_at


def test_a_pause_that_ends_while_nginx_is_woken_for_a_switch_does_not_put_it_to_sleep(
    files: RoutingFiles, now: Now
) -> None:
    """A worker that remembers blue again must not be left behind by the switch."""
    files.admit("shop", Admission(Door.PAUSED, now.s + 0.5))
    files._awake.clear()  # as after a restart of the daemon
    slept, sleep = [], now.sleep

    def sleeping(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)
        files.settle()

    files._sleep = sleeping
    files.publish("shop", GREEN)
    assert files.shown("shop") == Shown(GREEN)
    assert sum(slept) == pytest.approx(2 * REMEMBERED_S)


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("routing", [Routing(), BLUE, Routing(Slot.GREEN, share=10, release="r2", held="r1")])
def test_what_is_shown_is_one_name_and_read_back(door: Door, routing: Routing) -> None:
    shown = Shown(routing, door)
    assert shown_from_flag(shown.flag) == shown


@pytest.mark.parametrize("flag", ["", "paused", "paused-", "open-blue", "maintenance-paused-blue", "x-blue"])
def test_any_other_name_is_none(flag: str) -> None:
    with pytest.raises(Failed, match="is no routing"):
        shown_from_flag(flag)


def test_an_open_site_is_shown_as_it_was_before_there_were_doors(files: RoutingFiles, tmp_path: Path) -> None:
    files.admit("shop", PAUSE)
    assert (tmp_path / "routing" / "shop").readlink().name == "paused-blue"
    files.admit("shop", Admission())
    assert (tmp_path / "routing" / "shop").readlink().name == "blue"
    assert list((tmp_path / "state" / "admission").iterdir()) == []


def test_a_deployment_s_steps_leave_a_closed_site_closed(files: RoutingFiles) -> None:
    for order in (PAUSE, MAINTENANCE):
        files.admit("shop", order)
        for routing in (Routing(Slot.BLUE, share=10), Routing(Slot.BLUE, observed=True), BLUE):
            files.publish("shop", routing)
            assert files.shown("shop") == Shown(routing, order.door)


def test_a_pause_that_a_switch_ended_does_not_come_back_with_a_revert(files: RoutingFiles) -> None:
    files.admit("shop", PAUSE)
    files.publish("shop", GREEN)
    files.publish("shop", BLUE)
    assert files.shown("shop") == Shown(BLUE)


def test_a_pause_is_ended_at_its_bound_which_counts_from_when_it_holds(files: RoutingFiles, now: Now) -> None:
    files.admit("shop", PAUSE)
    bound = pytest.approx(100.0 + REMEMBERED_S, abs=0.001)
    assert files.paused_until("shop") == bound
    now.s = 100.0 + REMEMBERED_S - 0.1
    files.settle()
    assert files.paused_until("shop") == bound
    now.s += 0.2
    files.settle()
    assert files.shown("shop") == Shown(BLUE)
    assert files.paused_until("shop") is None


@pytest.mark.parametrize("first", ["kept", "shown"])
@pytest.mark.parametrize("end", ["resume", "switch"])
def test_a_pause_that_ends_while_its_bound_is_looked_up_is_not_taken_for_one_that_is_over(
    files: RoutingFiles, monkeypatch: pytest.MonkeyPatch, end: str, first: str
) -> None:
    """Whoever is held would be refused."""
    files.admit("shop", PAUSE)
    bound, read = files.paused_until("shop"), getattr(files, first)

    def and_then_it_ends(site: str) -> object:
        found = read(site)
        monkeypatch.undo()
        if end == "switch":
            files.publish("shop", GREEN)
        else:
            files.admit("shop", Admission())
        return found

    monkeypatch.setattr(files, first, and_then_it_ends)
    assert files.paused_until("shop") in (None, bound)


@pytest.mark.parametrize("order", [MAINTENANCE, Admission()], ids=lambda a: a.door)
def test_a_pause_is_not_over_while_its_end_is_being_ordered(
    files: RoutingFiles, monkeypatch: pytest.MonkeyPatch, order: Admission
) -> None:
    files.admit("shop", PAUSE)
    monkeypatch.setattr(files, "_show", lambda *_: None)
    files.admit("shop", order)
    (files._doors / "shop").write_text(f"{order.door} 0.000 blue\n")
    assert files.paused_until("shop") == float("inf")


@pytest.mark.parametrize(
    ("at_s", "order", "found"),
    [
        (50.0, PAUSE, Door.PAUSED),
        (150.0, PAUSE, Door.OPEN),
        (1e9, MAINTENANCE, Door.MAINTENANCE),
    ],
)
def test_a_restart_keeps_what_is_closed_but_no_pause_beyond_its_bound(
    tmp_path: Path, files: RoutingFiles, now: Now, at_s: float, order: Admission, found: Door
) -> None:
    files.admit("shop", order)
    now.s = at_s
    again = RoutingFiles(tmp_path / "another", tmp_path / "state", now=now, sleep=now.sleep, today=now)
    again.restore([SITE])
    assert again.shown("shop") == Shown(BLUE, found)


@pytest.mark.parametrize("order", [PAUSE, MAINTENANCE, Admission()], ids=lambda a: a.door)
def test_an_order_that_was_killed_half_way_is_carried_out(
    files: RoutingFiles, monkeypatch: pytest.MonkeyPatch, order: Admission
) -> None:
    files.admit("shop", PAUSE if order.door is Door.OPEN else Admission())

    def killed(site: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files, "_settle", killed)
        files.admit("shop", order)
    files.settle()
    assert files.shown("shop") == Shown(BLUE, order.door)


def test_an_order_that_can_t_be_read_is_never_taken_for_none(files: RoutingFiles, tmp_path: Path) -> None:
    files.admit("shop", PAUSE)
    (tmp_path / "state" / "admission" / "shop").write_text("paused soon blue\n")
    with pytest.raises(Failed, match="can't be read"):
        files.restore([SITE])


def test_one_that_can_t_be_read_keeps_no_other_site_closed(
    files: RoutingFiles, tmp_path: Path, now: Now
) -> None:
    files.publish("blog", BLUE)
    for site in ("shop", "blog"):
        files.admit(site, PAUSE)
    for bad, other in (("shop", "blog"), ("blog", "shop")):
        files.admit(other, PAUSE)
        (tmp_path / "state" / "admission" / bad).write_text("nonsense\n")
        now.s = 110.0
        with pytest.raises(Failed, match=bad):
            files.settle()
        assert files.shown(other) == Shown(BLUE)
        (tmp_path / "state" / "admission" / bad).unlink()
        now.s = 0.0


@pytest.mark.parametrize(
    ("path", "protocol", "found"),
    [
        ("/", Protocol.HTTP, ""),
        ("/?ready=1", Protocol.HTTP, ""),
        ("/health", Protocol.HTTP, "/health"),
        ("/a/b-c_d.json?x=(1)", Protocol.HTTP, "/a/b-c_d.json"),
        ("/he(al)th", Protocol.HTTP, ""),
        ("/%68ealth", Protocol.HTTP, ""),
        ("/grpc.health.v1.Health/Check", Protocol.GRPC, ""),
    ],
)
def test_the_probe_s_path_is_let_through_unless_it_is_the_home_page(
    path: str, protocol: Protocol, found: str
) -> None:
    site = Site(
        "shop", (), "app", 80, "/s", probe=ProbePolicy(path=path), proxying=Proxying(protocol=protocol)
    )
    assert site.health_path == found


LET_IN, REFUSED = b"204", b"403"


class Nginx:
    """Asks for requests to sites, as nginx does."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, site: str) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(5)
        peer.connect(str(self._path))
        peer.sendall(f"GET /{site} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return peer


def answer(peer: socket.socket) -> bytes:
    return peer.recv(100)[9:12]


def is_held(peer: socket.socket) -> bool:
    peer.settimeout(0.3)
    try:
        peer.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        peer.settimeout(5)
    return False


@dataclass
class Holding:
    files: RoutingFiles
    hold: Hold
    nginx: Nginx


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Holding]:
    """With the real time, and at most three requests."""
    files = RoutingFiles(tmp_path / "routing", tmp_path / "state")
    for site in ("shop", "blog"):
        files.publish(site, BLUE)
    hold, path = Hold(files.paused_until, files.settle, most=3), tmp_path / "hold.sock"
    threading.Thread(target=serve_for_ever, args=(hold, path), daemon=True).start()
    until = time.monotonic() + 5
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)
    yield Holding(files, hold, Nginx(path))
    for site in ("shop", "blog"):
        files.admit(site, Admission())


def paused(for_s: float = 60.0) -> Admission:
    return Admission(Door.PAUSED, time.time() + for_s)


@pytest.mark.parametrize("site", ["shop", "stranger"])
def test_requests_to_a_site_that_is_not_paused_or_not_known_are_let_in(holding: Holding, site: str) -> None:
    with holding.nginx.ask(site) as peer:
        assert answer(peer) == LET_IN


def test_a_request_is_held_until_its_own_site_opens(holding: Holding) -> None:
    holding.files.admit("shop", paused())
    holding.files.admit("blog", paused())
    with holding.nginx.ask("shop") as shop, holding.nginx.ask("blog") as blog:
        assert is_held(shop)
        holding.files.admit("shop", Admission())
        assert answer(shop) == LET_IN
        assert is_held(blog)
        holding.files.publish("blog", GREEN)
        assert answer(blog) == LET_IN


def test_at_the_bound_the_site_opens_before_those_who_were_held_are_refused(holding: Holding) -> None:
    holding.files.admit("shop", paused(1.6))
    with holding.nginx.ask("shop") as peer:
        assert answer(peer) == REFUSED
        assert holding.files.shown("shop") == Shown(BLUE)


@dataclass
class Crowd:
    """Who is held for a site that can be opened, and how much it has in flight."""

    size: int
    until: float | None = field(default_factory=lambda: time.time() + 60)
    in_flight: int = 0
    answers: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hold = Hold(lambda site: self.until, lambda: None, in_flight=lambda site: self.in_flight)
        for _ in range(self.size):
            one = _Held(self.hold)
            one.answer = self.answers.append  # type: ignore[method-assign]
            self.hold.ask(one, "shop")


def test_those_who_were_held_are_let_in_some_at_a_time_also_when_the_bound_comes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = Crowd(2 * AT_ONCE + 1, until=time.time() + 60)
    crowd.until = None
    crowd.hold.look()
    assert crowd.answers == [hold_module.LET_IN] * AT_ONCE
    later = time.time() + 61
    monkeypatch.setattr(hold_module.time, "time", lambda: later)
    crowd.hold.look()
    crowd.hold.look()
    assert crowd.answers == [hold_module.LET_IN] * (2 * AT_ONCE + 1)
    assert crowd.hold.count == 0


def test_no_more_are_let_in_than_the_application_answers_but_one_at_each_look_whatever_is_in_flight() -> None:
    crowd = Crowd(1000, in_flight=7)  # those seven may stay for hours
    crowd.until = None
    let_in = []
    for in_flight in (7, 7 + AT_ONCE, 7 + UNANSWERED - 5, 7 + UNANSWERED, 5000, 7):
        crowd.in_flight, before = in_flight, len(crowd.answers)
        crowd.hold.look()
        let_in.append(len(crowd.answers) - before)
    assert let_in == [AT_ONCE, AT_ONCE, 5, 1, 1, AT_ONCE]


def test_a_pause_that_is_ordered_again_is_as_long_as_the_new_one(holding: Holding) -> None:
    holding.files.admit("shop", paused(1.7))
    with holding.nginx.ask("shop") as peer:
        holding.files.admit("shop", paused(60))
        time.sleep(0.6)
        assert is_held(peer)
        holding.files.admit("shop", Admission())
        assert answer(peer) == LET_IN


def test_more_than_can_be_held_are_refused_and_who_gives_up_makes_room(holding: Holding) -> None:
    holding.files.admit("shop", paused())
    first = [holding.nginx.ask("shop") for _ in range(3)]
    assert all(map(is_held, first))
    with holding.nginx.ask("shop") as late:
        assert answer(late) == REFUSED
    first.pop().close()
    until = time.monotonic() + 5
    while holding.hold.count > 2 and time.monotonic() < until:
        time.sleep(0.01)
    with holding.nginx.ask("shop") as another:
        assert is_held(another)
    for peer in first:
        peer.close()


def test_what_is_no_question_is_hung_up_on(holding: Holding) -> None:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(holding.nginx._path))
        peer.sendall(b"POST /../x HTTP/1.1\r\n\r\n")
        assert peer.recv(100) == b""
