"""Sites that share a domain by path, on the real image: who answers for what a client writes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.model import Routing, Site, Slot
from tests.docker.conftest import Plane, docker, eventually, running_plane
from tests.docker.test_live_config import SOON_S, remove, standing, write

pytestmark = pytest.mark.docker
BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)
SHOP, BLOG, NEWS = (
    Site(name, ("shop.test",), "app", 8000, "", path=path)
    for name, path in (("shop", "/"), ("blog", "/blog"), ("news", "/blog/news"))
)
ENV = {"GATEWAY_SITES": "shop,blog,news,api"}
ENV |= {f"GATEWAY_{name}_UPSTREAM": "app:8000" for name in ("SHOP", "BLOG", "NEWS", "API")}
ENV |= {f"GATEWAY_{name}_DOMAIN": "shop.test" for name in ("SHOP", "BLOG", "NEWS")}
ENV |= {
    "GATEWAY_SHOP_PATH_PREFIX": "/",
    "GATEWAY_BLOG_PATH_PREFIX": "/blog/",
    "GATEWAY_NEWS_PATH_PREFIX": "/blog/news",
    "GATEWAY_API_DOMAIN": "api.test",
    "GATEWAY_API_PATH_PREFIX": "/v1.0",
}


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acme")
    (folder / ".well-known/acme-challenge").mkdir(parents=True)
    (folder / ".well-known/acme-challenge/token").write_text("proof")
    folder.chmod(0o755)  # nginx's workers read the challenge
    return folder


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str, acme: Path) -> Iterator[Plane]:
    """shop's blue serves, blog's green does; news was never deployed. A release has its slot's name."""
    mount = ("-v", f"{acme}:/var/www/acme:ro")
    with running_plane(network, "shop", "blog", "api", env=ENV, run=mount) as plane:
        proxy = plane.proxy()
        for site, routing in ((SHOP, BLUE), (BLOG, GREEN)):
            for slot in Slot:
                eventually(lambda site=site, slot=slot: proxy.probe(site, slot).ok)
            proxy.publish(site, routing)
        yield plane


def answer(plane: Plane, target: str, host: str = "shop.test") -> tuple[int, str]:
    """Of a request that is sent as it is written: status, and the body."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=10) as peer:
        peer.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        said = b"".join(iter(lambda: peer.recv(65536), b"")).decode()
    head, _, body = said.partition("\r\n\r\n")
    return int(head.split()[1]), body


def release(plane: Plane, target: str) -> str:
    status, body = answer(plane, target)
    return str(json.loads(body)["release"]) if status == 200 else str(status)


@pytest.mark.parametrize(
    ("target", "answers"),
    [
        ("/", "blue"),
        ("/blogger", "blue"),
        ("/blog.html", "blue"),
        ("/a/blog", "blue"),
        ("/?/blog/../", "blue"),
        ("/a%2Fb", "blue"),
        ("/a//b", "blue"),
        ("/main..dev/x", "blue"),
        ("/blog", "green"),
        ("/blog?x=1", "green"),
        ("/blog/", "green"),
        ("/blog/a%2Fb?/../", "green"),
        ("/blog/newspaper", "green"),
        ("http://shop.test/blog/x", "green"),
        ("/blog/news", "503"),  # the longest path's, whose page says that nothing was deployed yet
        ("/blog/news/x", "503"),
        # nginx takes these for another path than the application would be sent.
        ("/x/../blog/y", "400"),
        ("/x/%2e%2E/blog/y", "400"),
        ("/blog/../admin", "400"),
        ("/blog/%2e%2e/admin", "400"),
        ("/blog/..%2fadmin", "400"),
        ("/blog%2f..", "400"),
        ("/blog%2F..%2fadmin", "400"),
        ("/blog%2fx", "400"),
        ("/%62log/x", "400"),
        ("//blog/x", "400"),
        ("/./blog/x", "400"),
        ("/blog//news/x", "400"),
        ("/blog/./news", "400"),
        ("/..", "400"),
    ],
)
def test_what_a_client_writes_leads_to_one_site_or_is_refused(
    plane: Plane, target: str, answers: str
) -> None:
    assert release(plane, target) == answers


def test_the_path_is_passed_on_unchanged(plane: Plane) -> None:
    _, body = answer(plane, "/blog/a%2Fb//c?%2F")
    assert json.loads(body)["path"] == "/blog/a%2Fb//c?%2F"


def test_each_switches_on_its_own(plane: Plane) -> None:
    proxy = plane.proxy()
    try:
        proxy.publish(BLOG, BLUE)
        assert (release(plane, "/"), release(plane, "/blog")) == ("blue", "blue")
        proxy.publish(SHOP, GREEN)
        assert (release(plane, "/"), release(plane, "/blog")) == ("green", "blue")
        assert (proxy.serving(SHOP), proxy.serving(BLOG), proxy.serving(NEWS)) == (GREEN, BLUE, Routing())
    finally:
        proxy.publish(SHOP, BLUE)
        proxy.publish(BLOG, GREEN)


def test_a_domain_whose_root_is_nobody_s_says_404_there(plane: Plane) -> None:
    assert answer(plane, "/", "api.test")[0] == 404
    assert answer(plane, "/v1x0/", "api.test")[0] == 404
    assert answer(plane, "/v1.0/", "api.test")[0] == 503


def test_the_challenge_is_served_beside_all_paths(plane: Plane) -> None:
    for host in ("shop.test", "api.test"):
        assert answer(plane, "/.well-known/acme-challenge/token", host) == (200, "proof")


def test_a_broken_site_takes_nothing_but_its_own_path_down(plane: Plane) -> None:
    """Refused by nginx alone, so that the blame is nginx's too; mended, it is served again."""
    write(plane, "snippets/wiki.conf", "nonsense on;")
    write(plane, "sites/wiki.env", "DOMAIN=shop.test\nUPSTREAM=app:8000\nPATH_PREFIX=/wiki\n")
    eventually(lambda: standing(plane, "wiki") == "unavailable", within_s=SOON_S)
    eventually(lambda: "not set up" in answer(plane, "/wiki/x")[1], within_s=SOON_S)
    assert (release(plane, "/"), release(plane, "/blog")) == ("blue", "green")
    write(plane, "snippets/wiki.conf", "add_header X-Wiki yes always;")
    eventually(lambda: "Maintenance" in answer(plane, "/wiki")[1], within_s=SOON_S)
    eventually(lambda: standing(plane, "wiki") == "current", within_s=SOON_S)
    write(plane, "snippets/wiki.conf", "nonsense on;")
    eventually(lambda: standing(plane, "wiki") == "last_good", within_s=SOON_S)
    assert "Maintenance" in answer(plane, "/wiki")[1]
    assert [standing(plane, name) for name in ("shop", "blog")] == ["current", "current"]
    assert (release(plane, "/"), release(plane, "/blog")) == ("blue", "green")
    remove(plane, "sites/wiki.env")
    remove(plane, "snippets/wiki.conf")
    eventually(lambda: release(plane, "/wiki") == "blue", within_s=SOON_S)


def test_the_offline_check_of_the_same_passes_nginx_s_own_test(plane: Plane) -> None:
    said = docker("exec", plane.name, "gateway", "config", "check", "--json").stdout
    assert json.loads(said) == {"ok": True, "problems": [], "nginx_test": "passed"}
