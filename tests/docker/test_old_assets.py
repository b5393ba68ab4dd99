"""What the live release does not have is asked of the one before, on the real image."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.adapters.routing import REMEMBERED_S
from gateway.core.model import Routing, Slot
from tests.docker.conftest import SITE, Plane, docker, eventually, ready_proxy, running_plane

pytestmark = pytest.mark.docker
BLOG = replace(SITE, name="blog")
ENV = {
    "GATEWAY_SITES": "shop,blog",
    "GATEWAY_SHOP_DOMAIN": "shop.test",
    "GATEWAY_SHOP_UPSTREAM": "app:8000",
    "GATEWAY_SHOP_OLD_ASSETS": "/assets/,/static/assets/",
    "GATEWAY_SHOP_SESSION_TIMEOUT_S": "60",
    "GATEWAY_BLOG_DOMAIN": "blog.test",
    "GATEWAY_BLOG_UPSTREAM": "app:8000",
    "GATEWAY_BLOG_PATH_PREFIX": "/blog",
    "GATEWAY_BLOG_OLD_ASSETS": "/blog/assets/",
}
# The same of both: a place for assets, one where nobody looks for old ones, and the routing with blue warm.
WARM = Routing(Slot.GREEN, warm=True)
SITES = {"shop": (SITE, "/assets/", "/pages/assets/"), "blog": (BLOG, "/blog/assets/", "/blog/x/assets/")}


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network, "shop", "blog", env=ENV) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    proxy = ready_proxy(plane)
    eventually(lambda: all(proxy.probe(BLOG, slot).ok for slot in Slot))
    return proxy


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def found(plane: Plane, site: str, path: str) -> tuple[int, str]:
    """The status, and the release whose answer it is."""
    status, body, _ = plane.get(path, host=f"{site}.test")
    return status, json.loads(body)["release"]


def test_an_asset_of_the_release_before_is_found_while_that_is_warm(
    plane: Plane, proxy: NginxProxy, site: str
) -> None:
    at, assets, elsewhere = SITES[site]
    proxy.publish(at, WARM)
    assert found(plane, site, f"{assets}green.js") == (200, "green")
    assert found(plane, site, f"{assets}blue.js?v=1") == (200, "blue")
    # What neither has is answered by the live one, in its own words.
    assert found(plane, site, f"{assets}none.js") == (404, "green")
    assert found(plane, site, f"{elsewhere}blue.js") == (404, "green")


def test_nobody_looks_for_it_in_a_release_that_is_stopped_or_a_candidate(
    plane: Plane, proxy: NginxProxy, site: str
) -> None:
    at, assets, _ = SITES[site]
    for routing in (Routing(Slot.GREEN), Routing(Slot.GREEN, awake=True)):
        proxy.publish(at, routing)
        time.sleep(REMEMBERED_S)
        assert found(plane, site, f"{assets}blue.js") == (404, "green")


def test_the_release_before_may_be_gone(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(BLOG, WARM)
    docker("stop", "-t", "0", f"{plane.network}-blue")
    try:
        assert found(plane, "blog", "/blog/assets/blue.js") == (404, "green")
    finally:
        docker("start", f"{plane.network}-blue")
        eventually(lambda: all(proxy.probe(site, Slot.BLUE).ok for site in (SITE, BLOG)))


def test_a_body_that_was_sent_is_not_sent_twice(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, WARM)
    connection = plane.connect()
    connection.request("POST", "/assets/blue.js", b"x", {"Host": "shop.test"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["release"]) == (404, "green")


def test_other_answers_of_the_live_release_are_left_as_they_are(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, WARM)
    for code in (403, 418, 419, 500, 503):
        assert found(plane, "shop", f"/assets/green.js?code={code}") == (code, "green")


def test_it_is_in_flight_in_the_slot_that_was_asked_first(plane: Plane, proxy: NginxProxy) -> None:
    """So the release before is drained by what it was live for, and by nothing that goes on."""
    proxy.publish(SITE, WARM)
    with ThreadPoolExecutor(1) as pool:
        asset = pool.submit(found, plane, "shop", "/assets/blue.js?ms=700")
        seen = set()
        while not asset.done():
            seen.add(tuple(bool(proxy.in_flight(SITE, slot)) for slot in (Slot.GREEN, Slot.BLUE)))
        assert asset.result() == (200, "blue")
    assert seen <= {(True, False), (False, False)}
    assert (True, False) in seen
