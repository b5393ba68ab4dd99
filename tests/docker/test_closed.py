"""Sites that are closed for a while, on the real image: requests are held, or get the maintenance page."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.admission import RETRY_AFTER_S, Admission, Door
from gateway.core.model import InFlight, Routing, Site, Slot
from tests.docker.conftest import SITE, Plane, docker, eventually, ready_proxy, running_plane
from tests.docker.load import under_load

pytestmark = pytest.mark.docker
BLUE, GREEN = Routing(Slot.BLUE), Routing(Slot.GREEN)
OPEN, MAINTENANCE = Admission(), Admission(Door.MAINTENANCE)
# raw: bodies are passed on as they come. blog: has only a path of its domain, and few requests a second.
ENV = {
    "GATEWAY_SITES": "shop,raw,blog",
    "GATEWAY_SHOP_DOMAIN": "shop.test",
    "GATEWAY_SHOP_UPSTREAM": "app:8000",
    "GATEWAY_SHOP_PROBE_PATH": "/health?ready=1",
    "GATEWAY_RAW_DOMAIN": "raw.test",
    "GATEWAY_RAW_UPSTREAM": "app:8000",
    "GATEWAY_RAW_STREAM_UPLOADS": "on",
    "GATEWAY_RAW_SESSION_TIMEOUT_S": "60",
    "GATEWAY_BLOG_DOMAIN": "blog.test",
    "GATEWAY_BLOG_UPSTREAM": "app:8000",
    "GATEWAY_BLOG_PATH_PREFIX": "/blog",
    "GATEWAY_BLOG_RATE_LIMIT": "1r/m",
    "GATEWAY_BLOG_RATE_BURST": "40",
}
RAW, BLOG = replace(SITE, name="raw"), replace(SITE, name="blog")
SITES = (SITE, RAW, BLOG)
HELD = 1000
HELD_BEFORE_S = 0.7  # so long nobody may be answered
CONNECTED = "03"  # in /proc/net/unix


def paused(for_s: float = 60.0) -> Admission:
    return Admission(Door.PAUSED, time.time() + for_s)


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network, *(site.name for site in SITES), env=ENV) as plane:
        eventually(lambda: agent_answers(plane))
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return ready_proxy(plane)


@pytest.fixture(autouse=True)
def blue_is_live(proxy: NginxProxy) -> Iterator[None]:
    for site in SITES:
        proxy.publish(site, BLUE)
    yield
    for site in SITES:
        proxy.admit(site, OPEN)


def agent_answers(plane: Plane) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(plane.folder / "run" / "hold.sock"))
        return True
    except OSError:
        return False


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def shown(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


async def ask(plane: Plane, site: Site, body: bytes, *, chunked: bool = False, path: str = "") -> Answer:
    """One request on a connection of its own, never sent twice."""
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port)
    path = path or ("/blog/a%2Fb" if site is BLOG else "/a%2Fb")
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST {path} HTTP/1.1\r\nHost: {site.name}.test\r\nConnection: close\r\n{length}\r\n\r\n"
    parts = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    writer.write(head.encode() + (sent if chunked else body))
    head_read = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    found = {n.lower(): v for n, _, v in (line.partition(": ") for line in head_read[1:])}
    read = await reader.readexactly(int(found["content-length"]))
    writer.close()
    return Answer(int(head_read[0].split()[1]), found, read)


async def held(
    plane: Plane, site: Site, bodies: Sequence[bytes], then: Callable[[], object], *, chunked: bool = False
) -> list[Answer]:
    """All are asked for, none is answered, `then` happens, all are answered."""
    asked = [asyncio.ensure_future(ask(plane, site, body, chunked=chunked)) for body in bodies]
    await asyncio.sleep(HELD_BEFORE_S)
    assert not [one for one in asked if one.done()]
    await asyncio.to_thread(then)
    return list(await asyncio.wait_for(asyncio.gather(*asked), 60))


def intact(answers: Sequence[Answer], bodies: Sequence[bytes]) -> bool:
    sent = [hashlib.sha256(body).hexdigest() for body in bodies]
    return [answer.shown["sha256"] for answer in answers] == sent


@pytest.mark.parametrize("end", ["resume", "switch"])
def test_a_thousand_requests_are_held_and_let_in_to_the_live_release_with_their_bodies(
    plane: Plane, proxy: NginxProxy, end: str
) -> None:
    proxy.admit(SITE, paused())
    bodies = [os.urandom(1 + number * 40) for number in range(HELD)]

    def then() -> None:
        assert [proxy.in_flight(SITE, slot) for slot in Slot] == [InFlight(), InFlight()]
        if end == "switch":
            proxy.publish(SITE, GREEN)
        else:
            proxy.admit(SITE, OPEN)

    answers = asyncio.run(held(plane, SITE, bodies, then))
    live = "green" if end == "switch" else "blue"
    shown = Counter((a.status, a.shown["release"], a.shown["method"], a.shown["path"]) for a in answers)
    assert shown == {(200, live, "POST", "/a%2Fb"): HELD}
    assert intact(answers, bodies)
    assert proxy.admission(SITE) == OPEN


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_large_bodies_are_whole_however_they_are_sent_and_passed_on(
    plane: Plane,
    proxy: NginxProxy,
    site: Site,
    chunked: bool,  # noqa: FBT001
) -> None:
    proxy.admit(site, paused())
    bodies = [os.urandom(3_000_000) for _ in range(3)]
    then = lambda: proxy.publish(site, GREEN)  # noqa: E731
    answers = asyncio.run(held(plane, site, bodies, then, chunked=chunked))
    assert {(answer.status, answer.shown["release"]) for answer in answers} == {(200, "green")}
    assert intact(answers, bodies)


def test_whoever_is_held_too_long_gets_the_maintenance_page_and_the_site_is_open_again(
    plane: Plane, proxy: NginxProxy
) -> None:
    bound = paused(3)
    proxy.admit(SITE, bound)
    answers = asyncio.run(held(plane, SITE, [b"x"] * 20, lambda: None))
    assert time.time() >= bound.until
    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {f"{RETRY_AFTER_S}"}
    assert b"Maintenance" in answers[0].body
    assert proxy.admission(SITE) == OPEN
    assert plane.release() == "blue"


def test_when_the_agent_dies_its_requests_go_to_the_live_release(plane: Plane, proxy: NginxProxy) -> None:
    proxy.admit(SITE, paused())
    bodies = [os.urandom(2000) for _ in range(100)]
    kill = [
        "exec",
        plane.name,
        "sh",
        "-c",
        # In brackets, or this shell would be one of those it finds, and end before it ends the agent.
        "kill -9 $(grep -la 'gateway[.]daemon' /proc/[0-9]*/cmdline | cut -d/ -f3)",
    ]
    answers = asyncio.run(held(plane, SITE, bodies, lambda: docker(*kill, check=False)))
    assert {(answer.status, answer.shown["release"]) for answer in answers} == {(200, "blue")}
    assert intact(answers, bodies)
    eventually(lambda: agent_answers(plane))
    assert proxy.admission(SITE).door is Door.PAUSED  # whoever comes now is held again
    asyncio.run(held(plane, SITE, bodies, lambda: proxy.admit(SITE, OPEN)))


def test_whoever_gives_up_is_held_no_more_and_reaches_no_release(plane: Plane, proxy: NginxProxy) -> None:
    proxy.admit(SITE, paused())
    with socket.create_connection(("127.0.0.1", plane.port)) as peer:
        peer.sendall(b"POST /gave-up HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello")
        eventually(lambda: held_sockets(plane) == 1)
    eventually(lambda: held_sockets(plane) == 0)
    before = json.loads(_uploads(plane))
    proxy.admit(SITE, OPEN)
    time.sleep(0.2)
    assert json.loads(_uploads(plane)) == before


def _uploads(plane: Plane) -> str:
    inside = "import urllib.request as u, json; print(json.load(u.urlopen('http://127.0.0.1:8000/uploads'))['uploads'])"
    return docker("exec", f"{plane.network}-blue", "python3", "-c", inside).stdout


def held_sockets(plane: Plane) -> int:
    """Connections of nginx to the agent's socket."""
    rows = [row.split() for row in docker("exec", plane.name, "cat", "/proc/net/unix").stdout.splitlines()]
    # The sixth column is the state, the seventh an inode, which may end in anything.
    return sum(row[-1].endswith("/hold.sock") and row[5] == CONNECTED for row in rows)


def test_a_websocket_s_handshake_is_held_and_it_counts_where_it_went(plane: Plane, proxy: NginxProxy) -> None:
    proxy.admit(SITE, paused())
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(plane.websocket)
        time.sleep(HELD_BEFORE_S)
        assert not opening.done()
        proxy.publish(SITE, GREEN)
        peer = opening.result()
    peer.sendall(b"hello")
    assert peer.recv(16) == b"hello"
    assert [proxy.in_flight(SITE, slot).sockets for slot in (Slot.BLUE, Slot.GREEN)] == [0, 1]
    peer.close()
    eventually(lambda: proxy.in_flight(SITE, Slot.GREEN) == InFlight())


def test_a_rate_limit_counts_those_who_are_held_once(plane: Plane, proxy: NginxProxy) -> None:
    """blog takes 40 at once, of which other tests have used some; twenty twice would be too many."""
    proxy.admit(BLOG, paused())
    answers = asyncio.run(held(plane, BLOG, [b"x"] * 20, lambda: proxy.admit(BLOG, OPEN)))
    assert {answer.status for answer in answers} == {200}


def test_a_session_stays_where_it_began(plane: Plane, proxy: NginxProxy) -> None:
    proxy.publish(RAW, Routing(Slot.GREEN, release="r2", held="r1"))
    proxy.admit(RAW, paused())
    cookie = f"gateway_raw=r1-{'a' * 32}"
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(plane.get, host="raw.test", headers=headers) for headers in ({}, {"Cookie": cookie})
        ]
        time.sleep(HELD_BEFORE_S)
        assert not [one for one in asked if one.done()]
        proxy.admit(RAW, OPEN)
        new, old = (one.result() for one in asked)
    assert json.loads(new[1])["release"] == "green"
    assert new[2]["set-cookie"].startswith("gateway_raw=r2-")
    assert json.loads(old[1])["release"] == "blue"
    assert "set-cookie" not in old[2]


def test_pauses_and_switches_under_load_lose_nothing(plane: Plane, proxy: NginxProxy) -> None:
    def switch() -> None:
        for routing in (GREEN, BLUE) * 5:
            proxy.admit(SITE, paused())
            time.sleep(0.1)
            proxy.publish(SITE, routing)
            proxy.admit(SITE, paused())
            time.sleep(0.1)
            proxy.admit(SITE, OPEN)

    seen = under_load(plane, switch)
    assert {status for _, _, status, _ in seen} == {200}


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_in_maintenance_every_request_gets_the_page_and_nobody_reaches_a_release(
    plane: Plane, proxy: NginxProxy, site: Site
) -> None:
    proxy.admit(site, MAINTENANCE)
    assert proxy.admission(site) == MAINTENANCE
    assert proxy.serving(site) == BLUE
    answer = asyncio.run(ask(plane, site, b"x" * 100))
    assert answer.status == 503
    assert answer.headers["retry-after"] == f"{RETRY_AFTER_S}"
    assert b"Maintenance" in answer.body
    proxy.publish(site, GREEN)  # a deploy goes on behind it
    assert (proxy.serving(site), proxy.admission(site)) == (GREEN, MAINTENANCE)
    assert asyncio.run(ask(plane, site, b"")).status == 503
    proxy.admit(site, OPEN)
    assert asyncio.run(ask(plane, site, b"")).shown["release"] == "green"


@pytest.mark.parametrize("admission", [MAINTENANCE, paused()], ids=lambda a: a.door)
def test_health_and_acme_are_answered_as_ever(plane: Plane, proxy: NginxProxy, admission: Admission) -> None:
    proxy.admit(SITE, admission)
    challenges = "/var/www/acme/.well-known/acme-challenge"
    docker("exec", plane.name, "sh", "-c", f"mkdir -p {challenges} && echo proof > {challenges}/token")
    assert plane.get("/.well-known/acme-challenge/token")[:2] == (200, "proof\n")
    for path in ("/health", "/health?ready=1"):
        status, body, _ = plane.get(path)
        assert (status, json.loads(body)["release"]) == (200, "blue")
    assert proxy.probe(SITE, Slot.GREEN).ok
    assert (
        docker("exec", plane.name, "/opt/gateway/bin/python", "-m", "gateway.agent.healthcheck").returncode
        == 0
    )
    if admission is MAINTENANCE:
        assert [plane.get(path)[0] for path in ("/healthy", "/health/x", "//health")] == [503] * 3


def all_see(plane: Plane, page: str) -> bool:
    """Also whom a worker answers that the reload is about to end."""
    return all(page in plane.get("/any")[1] for _ in range(20))


def test_the_page_is_a_file_in_the_config_folder_one_for_all_or_the_site_s_own(
    plane: Plane, proxy: NginxProxy
) -> None:
    folder = plane.folder / "config"
    proxy.admit(SITE, MAINTENANCE)
    proxy.admit(BLOG, MAINTENANCE)
    (folder / "maintenance").mkdir()
    (folder / "maintenance.html").write_text("<h1>For all: $host {{ site.name }} ü</h1>")
    (folder / "maintenance" / "shop.html").write_text("<h1>The shop's</h1>")
    try:
        eventually(lambda: all_see(plane, "The shop's"), within_s=20)
        for method in ("GET", "POST", "HEAD", "DELETE"):
            connection = plane.connect()
            connection.request(method, "/any", b"x" if method == "POST" else None, {"Host": "shop.test"})
            answer = connection.getresponse()
            assert answer.status == 503, method
            assert answer.headers["Retry-After"] == f"{RETRY_AFTER_S}"
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert answer.read() == (b"" if method == "HEAD" else b"<h1>The shop's</h1>")
            connection.close()
        assert plane.get("/blog", host="blog.test")[1] == "<h1>For all: $host {{ site.name }} ü</h1>"
        proxy.admit(SITE, OPEN)
        assert plane.get("/.gateway/hold/shop")[0] == 404
        bound = paused(2.0)
        proxy.admit(SITE, bound)
        assert plane.get("/any")[:2] == (503, "<h1>The shop's</h1>")
    finally:
        (folder / "maintenance" / "shop.html").unlink()
        (folder / "maintenance.html").unlink()
    proxy.admit(SITE, MAINTENANCE)
    eventually(lambda: all_see(plane, "Back soon"), within_s=20)


def test_what_is_closed_stays_so_over_a_restart_and_a_pause_no_longer_than_its_bound(
    plane: Plane, proxy: NginxProxy
) -> None:
    proxy.admit(SITE, paused(15))
    until = proxy.admission(SITE).until
    proxy.admit(RAW, MAINTENANCE)
    proxy.admit(BLOG, paused(1.5))
    docker("kill", plane.name)
    docker("start", plane.name)
    plane.find_port()
    eventually(lambda: plane.get(host="raw.test")[0] == 503)
    # 502 until nginx knows where the applications are again.
    eventually(lambda: plane.get("/blog", host="blog.test")[0] in (200, 429))
    eventually(lambda: agent_answers(plane))
    assert proxy.admission(SITE).door is Door.PAUSED
    eventually(lambda: proxy.admission(SITE) == OPEN, within_s=20)
    assert until <= time.time() < until + 1
    assert plane.release() == "blue"
