"""Facts of the data plane, on the real image: who answers, and what nginx says of itself."""

from __future__ import annotations

import json
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.adapters.routing import REMEMBERED_S
from gateway.core.model import InFlight, Routing, Slot
from tests.docker.conftest import SITE, Plane, docker, eventually
from tests.docker.load import under_load

pytestmark = pytest.mark.docker
BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)


def test_before_the_first_release_the_maintenance_page_answers(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, Routing())
    status, body, headers = plane.get("/any?x=1")
    assert status == 503
    assert "Maintenance" in body
    assert int(headers["retry-after"]) > 0
    assert proxy.serving(SITE) == Routing()


@pytest.mark.parametrize(
    "routing", [Routing(s, o) for s in Slot for o in (False, True)], ids=lambda r: r.flag
)
def test_what_is_published_serves_and_is_confirmed(plane: Plane, proxy: NginxProxy, routing: Routing) -> None:
    proxy.publish(SITE, routing)
    assert proxy.serving(SITE) == routing
    assert plane.release() == routing.slot


def test_what_the_quick_tests_miss_is_found_by_its_name(plane: Plane, proxy: NginxProxy) -> None:
    """Also when a worker could not enter its working directory, where their short paths begin."""
    proxy.publish(SITE, BLUE)
    tested = plane.shm / "routing" / ".states" / "blue" / "slot"
    tested.unlink()
    os.mkfifo(tested)
    time.sleep(REMEMBERED_S)
    try:
        assert plane.release() == "blue"
    finally:
        tested.unlink()
        tested.touch()


def test_publish_and_confirm_take_less_than_20_ms_while_a_deployment_runs(
    plane: Plane, proxy: NginxProxy
) -> None:
    took_ms = []
    proxy.publish(SITE, Routing())
    for number in range(40):
        began = time.perf_counter()
        routing = Routing(tuple(Slot)[number % 2], awake=True)
        proxy.publish(SITE, routing)
        assert proxy.serving(SITE) == routing
        took_ms.append((time.perf_counter() - began) * 1000)
    print(f"publish and confirm: median {statistics.median(took_ms):.1f} ms, worst {max(took_ms):.1f} ms")
    assert statistics.median(took_ms) < 20


def test_a_switch_under_load_loses_nothing_and_never_flips_back(plane: Plane, proxy: NginxProxy) -> None:
    """Not even where every worker remembers who served."""
    for new, old in [(GREEN, BLUE), (BLUE, GREEN)] * 3:
        proxy.publish(SITE, old)
        seen = under_load(plane, lambda new=new: proxy.publish(SITE, new))
        assert {status for _, _, status, _ in seen} == {200}
        first = min(answered for _, answered, _, shown in seen if shown == new.slot)
        assert not [one for one in seen if one[0] > first and one[3] == old.slot]


def test_many_renames_under_load_never_show_the_maintenance_page(plane: Plane, proxy: NginxProxy) -> None:
    """One that falls between the tests and the name: what it was is forgotten, what it is has a name."""
    kinds = ({"observed": True}, {"awake": True}, {"share": 10})
    flags = [Routing(slot, **kind) for kind in kinds for slot in Slot]  # type: ignore[arg-type]
    proxy.publish(SITE, BLUE)

    def switch() -> None:
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for flag in (*flags, Routing(flags[-1].slot)):
                proxy.publish(SITE, flag)

    seen = under_load(plane, switch)
    assert len(seen) > 500
    assert {status for _, _, status, _ in seen} == {200}


def test_a_slow_request_keeps_its_slot_busy_after_the_switch(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, Routing(Slot.BLUE, awake=True))
    time.sleep(REMEMBERED_S)
    eventually(lambda: not proxy.in_flight(SITE, Slot.BLUE))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(plane.get, "/slow?ms=700")
        eventually(lambda: bool(proxy.in_flight(SITE, Slot.BLUE)))
        proxy.publish(SITE, GREEN)
        assert proxy.in_flight(SITE, Slot.BLUE)
        assert not proxy.in_flight(SITE, Slot.GREEN)
        status, body, _ = slow.result()
    assert (status, json.loads(body)["release"]) == (200, "blue")
    assert eventually(lambda: not proxy.in_flight(SITE, Slot.BLUE)) < 0.2


def test_a_websocket_keeps_its_slot_busy_until_it_is_closed(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    peer = plane.websocket()
    proxy.publish(SITE, GREEN)
    peer.sendall(b"hello")
    assert peer.recv(16) == b"hello"
    assert proxy.in_flight(SITE, Slot.BLUE)
    peer.close()
    assert eventually(lambda: not proxy.in_flight(SITE, Slot.BLUE)) < 1


def test_what_a_worker_of_before_a_reload_still_answers_is_counted_with_the_rest(
    plane: Plane, proxy: NginxProxy
) -> None:
    proxy.publish(SITE, BLUE)
    with ExitStack() as peers:
        for _ in range(8):  # whichever workers take them
            peers.enter_context(plane.unfinished())
            peers.enter_context(plane.websocket())
        eventually(lambda: proxy.in_flight(SITE, Slot.BLUE) == InFlight(8, 8))
        docker("exec", plane.name, "nginx", "-s", "reload")
        eventually(lambda: "worker process is shutting down" in docker("top", plane.name).stdout)
        for _ in range(4):
            peers.enter_context(plane.unfinished())
        eventually(lambda: proxy.in_flight(SITE, Slot.BLUE) == InFlight(12, 8))
    eventually(lambda: not proxy.in_flight(SITE, Slot.BLUE), within_s=2)


def test_an_unknown_host_gets_no_answer(plane: Plane) -> None:
    assert plane.get(host="other.test")[0] is None


def test_the_applications_own_503_passes_untouched(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    status, body, headers = plane.get("/status?code=503")
    assert (status, json.loads(body)["release"]) == (503, "blue")
    assert "retry-after" not in headers


def test_forwarded_headers_are_ours_and_only_websocket_is_upgraded(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    forged = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Forwarded-Proto": "https"}
    forged |= {"X-Request-Id": "mine", "Forwarded": "for=6.6.6.6", "X-Forwarded-Port": "443"}
    _, body, _ = plane.get("/headers", headers=forged | {"Upgrade": "h2c", "Connection": "Upgrade"})
    headers = json.loads(body)["headers"]
    assert "upgrade" not in headers
    assert "connection" not in headers
    assert "6.6.6.6" not in headers.values()
    assert "forwarded" not in headers
    assert "x-forwarded-port" not in headers
    assert headers["x-forwarded-proto"] == "http"
    assert len(headers["x-request-id"]) == 32
    assert headers["host"] == "shop.test"


def test_upstream_connections_are_kept_alive(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    peers = {json.loads(plane.get()[1])["peer"] for _ in range(20)}
    assert len(peers) <= 4


def test_observed_answers_are_counted_from_the_publish_on(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, BLUE)
    plane.get("/status?code=500")
    proxy.publish(SITE, Routing(Slot.BLUE, observed=True))
    for code in (200, 404, 500, 503):
        plane.get(f"/status?code={code}")
    eventually(lambda: proxy.sample(SITE, Slot.BLUE).requests == 4)
    assert proxy.sample(SITE, Slot.BLUE).errors_5xx == 2


def test_of_many_answers_at_once_none_goes_uncounted(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, Routing(Slot.BLUE, observed=True))
    seen = under_load(plane, lambda: time.sleep(1))
    assert len(seen) > 200
    eventually(lambda: proxy.sample(SITE, Slot.BLUE).requests == len(seen), within_s=2)


def test_requests_that_reach_no_application_are_counted_apart(plane: Plane, proxy: NginxProxy) -> None:
    docker("stop", "-t", "0", f"{plane.network}-green")
    eventually(lambda: proxy.probe(SITE, Slot.GREEN).status == 502)
    proxy.publish(SITE, Routing(Slot.GREEN, observed=True))
    assert [plane.get("/")[0] for _ in range(3)] == [502] * 3
    docker("start", f"{plane.network}-green")
    eventually(lambda: proxy.probe(SITE, Slot.GREEN).ok)
    assert plane.get("/status?code=502")[0] == 502
    eventually(lambda: proxy.sample(SITE, Slot.GREEN).requests == 4)
    found = proxy.sample(SITE, Slot.GREEN)
    assert (found.errors_5xx, found.unreachable) == (4, 3)


def test_a_slot_without_an_application_fails_its_probe(plane: Plane, proxy: NginxProxy) -> None:
    docker("stop", "-t", "0", f"{plane.network}-green")
    found = proxy.probe(SITE, Slot.GREEN)
    # 504 as long as nginx knows an address there that nobody has any more.
    assert (found.ok, found.status in (502, 504)) == (False, True)
    eventually(lambda: proxy.probe(SITE, Slot.GREEN).status == 502)
    docker("start", f"{plane.network}-green")
    eventually(lambda: proxy.probe(SITE, Slot.GREEN).ok)
