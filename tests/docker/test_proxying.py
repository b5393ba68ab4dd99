"""Facts of what is proxied, on the real image: what passes, what is bounded, who is believed."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h2
import hpack
import httpx
import hyperframe
import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.core.model import ProbePolicy, Routing, Site, Slot
from gateway.core.serving import Protocol, Proxying
from tests.docker.conftest import Plane, blue_serves, docker, eventually, running_plane

pytestmark = pytest.mark.docker
BLUE = Routing(Slot.BLUE)
NAMES = ("shop", "stream", "small", "zip", "rate", "few", "wild", "rpc")
ENV = {
    "GATEWAY_SITES": ",".join(NAMES),
    **{f"GATEWAY_{name.upper()}_DOMAIN": f"{name}.test" for name in NAMES},
    **{f"GATEWAY_{name.upper()}_UPSTREAM": "app:8000" for name in NAMES},
    "GATEWAY_WILD_DOMAIN": "*.wild.test",
    "GATEWAY_STREAM_STREAM_UPLOADS": "on",
    "GATEWAY_SMALL_MAX_BODY": "1k",
    "GATEWAY_SMALL_READ_TIMEOUT_S": "1",
    "GATEWAY_ZIP_GZIP": "on",
    "GATEWAY_RATE_RATE_LIMIT": "1r/s",
    "GATEWAY_RATE_RATE_BURST": "3",
    "GATEWAY_FEW_CONNECTION_LIMIT": "2",
    "GATEWAY_RPC_PROTOCOL": "grpc",
    # Through the published port we come from Docker's own networks.
    "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16",
    "GATEWAY_FORWARDED_HEADER": "on",
}
SITES = {name: Site(name, (f"{name}.test",), "app", 8000, "/s.yaml", ProbePolicy()) for name in NAMES}
RPC = Site("rpc", ("rpc.test",), "app", 8000, "/s.yaml", proxying=Proxying(protocol=Protocol.GRPC))


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    http_sites = [name for name in NAMES if name != "rpc"]
    with running_plane(network, *http_sites, env=ENV) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return blue_serves(plane, *SITES.values())


def seen(plane: Plane, headers: dict[str, str], *, host: str = "shop.test") -> dict[str, str]:
    """The headers as they reached the application."""
    found: dict[str, str] = json.loads(plane.get("/headers", host=host, headers=headers)[1])["headers"]
    return found


def raw(plane: Plane, request: bytes, *, within_s: float = 5) -> bytes:
    """What comes back until the gateway closes, or nothing more comes."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=within_s) as peer:
        peer.sendall(request)
        answer = b""
        try:
            while part := peer.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
        return answer


def test_events_come_one_by_one(plane: Plane, proxy: NginxProxy) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as peer:
        peer.sendall(b"GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        came: dict[bytes, float] = {}
        while (part := peer.recv(4096)) and len(came) < 3:
            for event in (b"data: 0", b"data: 1", b"data: 2"):
                if event in part:
                    came[event] = time.monotonic()
    assert came[b"data: 2"] - came[b"data: 0"] > 0.4


@pytest.mark.parametrize(("host", "begun"), [("shop.test", 0), ("stream.test", 1)])
def test_an_upload_reaches_the_application_whole_or_as_it_comes(
    plane: Plane, proxy: NginxProxy, host: str, begun: int
) -> None:
    def uploads() -> int:
        return int(json.loads(plane.get("/uploads")[1])["uploads"])

    before, size = uploads(), 20 << 20
    with socket.create_connection(("127.0.0.1", plane.port), timeout=10) as peer:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n"
        peer.sendall(head.encode() + bytes(size // 2))
        time.sleep(0.3)
        eventually(lambda: uploads() - before == begun)
        assert proxy.in_flight(SITES[host.split(".")[0]], Slot.BLUE)
        peer.sendall(bytes(size - size // 2))
        assert peer.recv(4096).startswith(b"HTTP/1.1 200")
    assert uploads() - before == 1


def test_a_body_above_its_site_s_bound_is_refused(plane: Plane, proxy: NginxProxy) -> None:
    def post(host: str) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n"
        return raw(plane, head.encode() + bytes(2000))

    assert post("small.test").startswith(b"HTTP/1.1 413")
    assert post("shop.test").startswith(b"HTTP/1.1 200")


def test_an_application_that_is_silent_too_long_gives_504(plane: Plane, proxy: NginxProxy) -> None:
    assert plane.get("/slow?ms=1500", host="small.test")[0] == 504
    assert plane.get("/slow?ms=1500")[0] == 200


def test_text_is_compressed_where_it_is_asked_for(plane: Plane, proxy: NginxProxy) -> None:
    def coding(host: str, pad: int) -> str | None:
        connection = plane.connect()
        connection.request("GET", f"/?pad={pad}", headers={"Host": host, "Accept-Encoding": "gzip"})
        return connection.getresponse().getheader("Content-Encoding")

    assert coding("zip.test", 2000) == "gzip"
    assert coding("zip.test", 0) is None
    assert coding("shop.test", 2000) is None


def test_requests_above_the_rate_get_429(plane: Plane, proxy: NginxProxy) -> None:
    statuses = [plane.get(host="rate.test")[0] for _ in range(10)]
    assert statuses[:4] == [200] * 4
    assert 429 in statuses[4:]
    assert {plane.get()[0] for _ in range(10)} == {200}


def test_requests_above_the_connection_limit_get_429_and_the_drain_s_count_is_right(
    plane: Plane, proxy: NginxProxy
) -> None:
    few = SITES["few"]
    eventually(lambda: not proxy.in_flight(few, Slot.BLUE))
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(plane.get, "/slow?ms=700", host="few.test") for _ in range(2)]
        time.sleep(0.3)
        assert plane.get(host="few.test")[0] == 429
        assert proxy.in_flight(few, Slot.BLUE)
        assert [one.result()[0] for one in slow] == [200, 200]
    eventually(lambda: not proxy.in_flight(few, Slot.BLUE), within_s=1)
    assert plane.get(host="few.test")[0] == 200


def test_a_trusted_proxy_says_who_the_client_is(plane: Plane, proxy: NginxProxy) -> None:
    """The last address that no trusted proxy has; what stands before it anybody could have written."""
    given = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9, 10.1.2.3", "X-Forwarded-Proto": "https"}
    headers = seen(plane, given | {"X-Request-Id": "a-1.b:2_c"})
    assert headers["x-forwarded-for"] == headers["x-real-ip"] == "9.9.9.9"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-request-id"] == "a-1.b:2_c"
    assert headers["forwarded"] == "for=9.9.9.9;proto=https"


def test_an_ipv6_client_is_quoted_in_forwarded(plane: Plane, proxy: NginxProxy) -> None:
    headers = seen(plane, {"X-Forwarded-For": "2001:db8::1"})
    assert headers["forwarded"] == 'for="[2001:db8::1]";proto=http'


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "x" * 129, "a;b", "é"])
def test_a_request_id_that_is_none_is_replaced(plane: Plane, proxy: NginxProxy, given: str) -> None:
    assert len(seen(plane, {"X-Request-Id": given})["x-request-id"]) == 32


@pytest.mark.parametrize("given", ["https, http", "wss", "https\x0b", ""])
def test_a_scheme_that_is_none_is_replaced(plane: Plane, proxy: NginxProxy, given: str) -> None:
    assert seen(plane, {"X-Forwarded-Proto": given})["x-forwarded-proto"] == "http"


def test_headers_that_frameworks_believe_are_not_passed_on(plane: Plane, proxy: NginxProxy) -> None:
    claims = {
        "Forwarded": "for=6.6.6.6",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "666",
        "X-Forwarded-Ssl": "on",
        "X-Forwarded-Scheme": "https",
        "X-Forwarded-Server": "evil",
        "X-Forwarded-Prefix": "/evil",
        "X-Original-URL": "/admin",
        "X-Rewrite-URL": "/admin",
        "X_Forwarded_For": "6.6.6.6",
        "Proxy": "http://evil.test",
    }
    headers = seen(plane, claims)
    assert headers["x-forwarded-host"] == "shop.test"
    assert [name for name, value in headers.items() if value in claims.values()] == []


@pytest.mark.parametrize(
    "path",
    ["/a/%2e%2e/b", "/a//b", "/a/./b", "/a/../b", "/%2F", "/%c3%A9", "/a;b=c", "/a\\b"],
)
def test_a_path_reaches_the_application_as_it_was_written(plane: Plane, proxy: NginxProxy, path: str) -> None:
    request = f"GET {path}?%2e=1 HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n".encode("latin1")
    shown = json.loads(raw(plane, request).split(b"\r\n\r\n", 1)[1])["path"]
    assert shown.startswith(f"{path}?%2e=1")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("POST / HTTP/1.1\nHost: shop.test\nContent-Length: 4\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("POST / HTTP/1.1\nHost: shop.test\nContent-Length: 4\nContent-Length: 5", "abcde"),
        ("POST / HTTP/1.1\nHost: shop.test\nContent-Length: +4", "abcd"),
        ("POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: chunked, identity", "0\r\n\r\n"),
        ("POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: xchunked", "0\r\n\r\n"),
        ("POST / HTTP/1.0\nHost: shop.test\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("POST / HTTP/1.1\nHost: shop.test\nTransfer-Encoding: chunked", "0x1\r\na\r\n0\r\n\r\n"),
        ("GET / HTTP/1.1\nHost: shop.test\nHost: other.test", ""),
        ("GET / HTTP/1.1\nHost: shop.test\nA : b", ""),
        ("GET / HTTP/1.1\nHost: shop.test\n folded: x", ""),
        ("GET / HTTP/1.1\nHost: shop.test\nA: b\0c", ""),
        ("GET / HTTP/1.1", ""),
        ("GET /../etc/passwd HTTP/1.1\nHost: shop.test", ""),
        ("GET /%00 HTTP/1.1\nHost: shop.test", ""),
        ("TRACE / HTTP/1.1\nHost: shop.test", ""),
        ("CONNECT shop.test:443 HTTP/1.1\nHost: shop.test", ""),
    ],
)
def test_what_two_servers_could_read_differently_reaches_nobody(
    plane: Plane, proxy: NginxProxy, head: str, body: str
) -> None:
    """RFC 9112 sections 5.1, 6.1, 6.3 and 11.2: each is an error, and the connection ends with it."""
    request = head.replace("\n", "\r\n") + "\r\n\r\n" + body
    request += "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    answer = raw(plane, request.encode())
    assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5", b"")
    assert b"smuggled" not in answer


@pytest.mark.parametrize("host", ['a"b.wild.test', "a b.wild.test", "a{b.wild.test", "a,b@.wild.test"])
def test_a_host_that_is_none_does_not_reach_a_wildcard_site(
    plane: Plane, proxy: NginxProxy, host: str
) -> None:
    answer = raw(plane, f"GET /headers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert not answer.startswith(b"HTTP/1.1 200")


@pytest.fixture
def deaf(plane: Plane) -> Iterator[str]:
    """A replica that listens nowhere."""
    name = f"{plane.network}-deaf"
    place = ["--name", name, "--network", plane.network, "--network-alias", "shop-blue"]
    docker("run", "-d", *place, "--entrypoint", "sleep", "gateway-lab/python:3", "60")
    time.sleep(2.5)  # until nginx has learned the address
    yield name
    docker("rm", "-fv", name, check=False)


def get_and_post(plane: Plane) -> set[bytes]:
    """How they are answered. Also POSTs: nothing was sent yet, so that trying the next one is safe."""
    end = b" / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n"
    asked = [b"GET" + end + b"\r\n", b"POST" + end + b"Content-Length: 1\r\n\r\nx"]
    return {raw(plane, one, within_s=20)[:12] for one in asked}


def test_a_replica_that_refuses_connections_costs_no_request(
    plane: Plane, proxy: NginxProxy, deaf: str
) -> None:
    assert set().union(*(get_and_post(plane) for _ in range(10))) == {b"HTTP/1.1 200"}


def test_a_replica_that_is_gone_costs_no_request(plane: Plane, proxy: NginxProxy, deaf: str) -> None:
    """Its address answers nothing any more, and Docker's DNS has forgotten it before nginx gives it up."""
    with ThreadPoolExecutor(8) as pool:
        many = [pool.submit(get_and_post, plane) for _ in range(8)]
        docker("rm", "-fv", deaf)
        many += [pool.submit(get_and_post, plane) for _ in range(400)]
        assert set().union(*(one.result() for one in many)) == {b"HTTP/1.1 200"}


@pytest.fixture
def grpc_app(plane: Plane) -> Iterator[str]:
    name = f"{plane.network}-rpc"
    place = ["--name", name, "--network", plane.network, "--network-alias", "rpc-blue"]
    mounts = ["-v", f"{Path(__file__).with_name('grpc_app.py')}:/app/grpc_app.py:ro"]
    for package in (h2, hpack, hyperframe):
        folder = Path(str(package.__file__)).parent
        mounts += ["-v", f"{folder}:/app/{folder.name}:ro"]
    docker(
        "run", "-d", *place, *mounts, "--entrypoint", "python3", "gateway-lab/python:3", "/app/grpc_app.py"
    )
    yield name
    docker("rm", "-fv", name)


def test_grpc_is_probed_by_its_health_check_and_served_over_http2(
    plane: Plane, proxy: NginxProxy, grpc_app: str
) -> None:
    eventually(lambda: proxy.probe(RPC, Slot.BLUE).ok)
    assert proxy.probe(RPC, Slot.BLUE).detail == "/grpc.health.v1.Health/Check answered 200"
    command = ["curl", "-s", "-D", "-", "--http2-prior-knowledge", "--data-binary", "x", "--output", "-"]
    headers = ["-H", "Host: rpc.test", "-H", "TE: trailers", "-H", "Content-Type: application/grpc"]
    url = f"http://127.0.0.1:{plane.port}/pkg.Service/Method"
    answer = subprocess.run([*command, *headers, url], capture_output=True, timeout=20, check=True).stdout
    assert answer.startswith(b"HTTP/2 200")
    assert b"grpc-status: 0" in answer
    arrived = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    assert arrived[":path"] == "/pkg.Service/Method"
    assert arrived["host"] == f"rpc.test:{plane.port}" or arrived["host"] == "rpc.test"
    assert "x-forwarded-for" in arrived


def test_a_connection_over_http2_outlives_thousands_of_requests(plane: Plane) -> None:
    """nginx's own limit of 1,000 ends it by a GOAWAY, which costs what a client has just sent."""
    ours = set()
    with httpx.Client(http1=False, http2=True, headers={"Host": "rpc.test"}) as client:
        for _ in range(2100):
            answer = client.get(f"http://127.0.0.1:{plane.port}/")
            ours.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert answer.http_version == "HTTP/2"
    assert len(ours) == 1


def test_a_grpc_application_that_is_not_there_fails_its_probe(plane: Plane, proxy: NginxProxy) -> None:
    found = proxy.probe(RPC, Slot.GREEN)
    assert (found.ok, found.detail) == (False, "/grpc.health.v1.Health/Check answered 502, wanted 200")
