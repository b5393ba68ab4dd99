"""A candidate that waits for its order, seen by those who have the token, on the real image."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.admission import Admission, Door
from gateway.core.model import Routing, Slot
from tests.docker.conftest import SITE, Plane, docker, eventually, ready_proxy, running_plane

pytestmark = pytest.mark.docker
BLOG = replace(SITE, name="blog")
TOKEN, OTHER = "t0-" * 12, "t1-" * 12
ENV = {
    "GATEWAY_SITES": "shop,blog",
    "GATEWAY_SHOP_DOMAIN": "shop.test",
    "GATEWAY_SHOP_UPSTREAM": "app:8000",
    "GATEWAY_SHOP_PREVIEW_TOKEN_FILE": "/etc/gateway/preview-token",
    "GATEWAY_SHOP_SESSION_TIMEOUT_S": "60",
    "GATEWAY_BLOG_DOMAIN": "blog.test",
    "GATEWAY_BLOG_UPSTREAM": "app:8000",
    "GATEWAY_BLOG_PATH_PREFIX": "/blog",
    "GATEWAY_BLOG_PREVIEW_TOKEN_FILE": "/etc/gateway/preview-token",
}
READY, MAINTENANCE, OPEN = Routing(Slot.BLUE, ready=True), Admission(Door.MAINTENANCE), Admission()
SITES = {"shop": SITE, "blog": BLOG}


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network, *SITES, env=ENV) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    proxy = ready_proxy(plane)
    eventually(lambda: all(proxy.probe(BLOG, slot).ok for slot in Slot))
    write_token(plane)
    # nginx answers before the agent beside it, which knows who may see what only once it has looked.
    for name, site in SITES.items():
        proxy.publish(site, READY)
        eventually(lambda name=name: seen(plane, name, {"X-Gateway-Preview": TOKEN}) == (200, "green"))
    return proxy


@pytest.fixture(autouse=True)
def token(plane: Plane) -> None:
    write_token(plane)


def write_token(plane: Plane) -> None:
    (plane.folder / "config" / "preview-token").write_text(f"{TOKEN}\n")


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def seen(plane: Plane, site: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """The status, and the release that answers."""
    status, body, _ = plane.get("/blog/a?ms=0", host=f"{site}.test", headers=headers)
    assert status is not None
    return status, json.loads(body)["release"] if status == 200 else ""


def test_the_token_in_a_header_or_a_cookie_shows_the_candidate_and_all_others_the_live_release(
    plane: Plane, proxy: NginxProxy, site: str
) -> None:
    proxy.publish(SITES[site], READY)
    assert seen(plane, site) == (200, "blue")
    assert seen(plane, site, {"X-Gateway-Preview": TOKEN}) == (200, "green")
    assert seen(plane, site, {"Cookie": f"a=b; gateway_preview={TOKEN}"}) == (200, "green")


@pytest.mark.parametrize("wrong", [OTHER, TOKEN[:-1], f"{TOKEN}x", "x", "\xe9" * 40, "a" * 3000])
def test_another_token_shows_nothing(plane: Plane, proxy: NginxProxy, site: str, wrong: str) -> None:
    proxy.publish(SITES[site], READY)
    assert seen(plane, site, {"X-Gateway-Preview": wrong}) == (403, "")


def test_a_token_that_was_replaced_is_the_one_that_counts(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, READY)
    (plane.folder / "config" / "preview-token").write_text(OTHER)
    assert seen(plane, "shop", {"X-Gateway-Preview": TOKEN}) == (403, "")
    assert seen(plane, "shop", {"X-Gateway-Preview": OTHER}) == (200, "green")


@pytest.mark.parametrize("content", ["", "short", None])
def test_without_a_good_token_in_the_file_nobody_sees_a_candidate(
    plane: Plane, proxy: NginxProxy, content: str | None
) -> None:
    proxy.publish(SITE, READY)
    file = plane.folder / "config" / "preview-token"
    file.unlink() if content is None else file.write_text(content)
    for said in (TOKEN, content or "x"):
        assert seen(plane, "shop", {"X-Gateway-Preview": said}) == (403, "")
    assert seen(plane, "shop") == (200, "blue")


@pytest.mark.parametrize(
    "routing", [Routing(Slot.BLUE), Routing(Slot.BLUE, awake=True), Routing(Slot.BLUE, warm=True)]
)
def test_where_no_candidate_waits_there_is_nothing_to_see(
    plane: Plane, proxy: NginxProxy, site: str, routing: Routing
) -> None:
    proxy.publish(SITES[site], routing)
    assert seen(plane, site, {"X-Gateway-Preview": TOKEN}) == (404, "")
    assert seen(plane, site) == (200, "blue")


def test_a_candidate_is_seen_behind_the_maintenance_page(plane: Plane, proxy: NginxProxy, site: str) -> None:
    proxy.publish(SITES[site], READY)
    proxy.admit(SITES[site], MAINTENANCE)
    try:
        assert seen(plane, site) == (503, "")
        assert seen(plane, site, {"X-Gateway-Preview": TOKEN}) == (200, "green")
    finally:
        proxy.admit(SITES[site], OPEN)


def test_what_is_seen_is_not_to_be_stored_and_the_token_is_in_no_log(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(SITE, READY)
    _, _, headers = plane.get("/", headers={"X-Gateway-Preview": TOKEN})
    assert headers["cache-control"] == "no-store"
    logged = docker("logs", plane.name)
    assert TOKEN not in logged.stdout + logged.stderr
    assert (
        TOKEN
        not in docker("exec", plane.name, "sh", "-c", "cat /run/gateway/conf/live/* 2>/dev/null; true").stdout
    )
