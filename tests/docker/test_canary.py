"""Shares of the visitors, on the real image."""

from __future__ import annotations

import math
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.model import Routing, Slot
from tests.docker.conftest import ENV, SITE, Plane, docker, eventually, running_plane

pytestmark = pytest.mark.docker

VISITORS, AT_ONCE = 100_000, 200
SERVER = "events {} http { access_log off; server { listen 8000; return 200 %s; } }"
STEPS = (1, 10, 50)
STEPPING = {"GATEWAY_CANARY_STEPS": ",".join(map(str, STEPS)), "GATEWAY_CANARY_OVERRIDE": "on"}


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    """With its site in steps, and applications that say their slot as fast as nginx can."""
    with running_plane(network, env=ENV | STEPPING) as plane:
        for slot in Slot:
            docker("rm", "-fv", f"{network}-{slot}")
            place = ["--name", f"{network}-{slot}", "--network", network, "--network-alias", f"shop-{slot}"]
            config = f"echo '{SERVER % slot}' > /n.conf && exec nginx -c /n.conf -g 'daemon off;'"
            docker("run", "-d", *place, "--entrypoint", "sh", "nginx:1.30", "-c", config)
        yield plane


def ask(plane: Plane, visitors: range) -> list[str]:
    """Which slot answers each visitor: many requests at once on one connection, none asked twice."""
    answers = []
    with socket.create_connection(("127.0.0.1", plane.port), timeout=30) as peer, peer.makefile("rb") as file:
        for first in range(visitors.start, visitors.stop, AT_ONCE):
            asked = range(first, min(first + AT_ONCE, visitors.stop))
            head = "GET / HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: visitor {}\r\n\r\n"
            peer.sendall("".join(head.format(visitor) for visitor in asked).encode())
            answers += [_answer(file) for _ in asked]
    return answers


def _answer(file: object) -> str:
    length = 0
    assert hasattr(file, "readline") and hasattr(file, "read")
    assert b" 200 " in file.readline()
    while (line := file.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return str(file.read(length).decode())


@pytest.mark.parametrize("live", Slot)
def test_a_share_is_what_it_says_within_sampling_error(plane: Plane, proxy: NginxProxy, live: Slot) -> None:
    """Four standard deviations: one run of 16,000 is further off by chance."""
    proxy.publish(SITE, Routing(live, share=10))
    assert proxy.serving(SITE) == Routing(live, share=10)
    counts: Counter[str] = Counter()
    for first in range(0, VISITORS, 1000):  # nginx closes a connection after 1,000 requests
        counts.update(ask(plane, range(first, first + 1000)))
    assert counts.total() == VISITORS
    assert abs(counts[live.other] - 0.1 * VISITORS) < 4 * math.sqrt(VISITORS * 0.1 * 0.9)


def test_a_visitor_stays_where_he_is_and_who_was_let_in_stays_in(plane: Plane, proxy: NginxProxy) -> None:
    let_in: set[int] = set()
    for share in STEPS:
        proxy.publish(SITE, Routing(Slot.BLUE, share=share))
        answers = ask(plane, range(900))
        assert answers == ask(plane, range(900))
        now = {visitor for visitor, slot in enumerate(answers) if slot == Slot.GREEN}
        assert let_in < now
        let_in = now


def test_the_answers_of_both_are_counted_from_the_step_on(plane: Plane, proxy: NginxProxy) -> None:
    site = replace(SITE, steps=STEPS)
    time.sleep(0.3)  # nginx writes within 100 ms what it answered before
    proxy.publish(site, Routing(Slot.BLUE, share=50))
    answers = Counter(ask(plane, range(400)))
    for slot in Slot:
        eventually(lambda slot=slot: proxy.sample(site, slot).requests == answers[slot])
    proxy.publish(site, Routing(Slot.BLUE, share=50))
    assert proxy.sample(site, Slot.GREEN).requests == 0


def chosen(plane: Plane, visitor: int, **headers: str) -> str:
    return plane.get("/", headers={"User-Agent": f"visitor {visitor}"} | headers)[1]


@pytest.mark.parametrize("live", Slot)
def test_a_header_or_a_cookie_chooses_whatever_the_share_and_the_header_first(
    plane: Plane, proxy: NginxProxy, live: Slot
) -> None:
    proxy.publish(SITE, Routing(live, share=50))
    always, never = {"Cookie": "gateway_canary=always"}, {"Cookie": "a=b; gateway_canary=never"}
    for visitor in range(8):
        assert chosen(plane, visitor, **{"X-Gateway-Canary": "always"}) == live.other
        assert chosen(plane, visitor, **{"X-Gateway-Canary": "never"}, **always) == live
        assert chosen(plane, visitor, **always) == live.other
        assert chosen(plane, visitor, **never) == live
        for nothing in ("", "alwaysx", "blue", "always never"):
            assert chosen(plane, visitor, Cookie=f"gateway_canary={nothing}") == chosen(plane, visitor)


@pytest.mark.parametrize("routing", [Routing(Slot.BLUE), Routing(Slot.BLUE, awake=True)], ids=str)
def test_without_a_step_nobody_chooses(plane: Plane, proxy: NginxProxy, routing: Routing) -> None:
    proxy.publish(SITE, routing)
    assert chosen(plane, 1, **{"X-Gateway-Canary": "always"}) == "blue"
