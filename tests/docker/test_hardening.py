"""Facts of what strangers may try, on the real image."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.adapters.nginx import NginxProxy
from tests.docker.conftest import ENV, SITE, Plane, blue_serves, docker
from tests.made_certificates import make_certificate

pytestmark = pytest.mark.docker

ALL_ON = {
    "GATEWAY_HSTS_S": "63072000",
    "GATEWAY_WWW": "remove",
    "GATEWAY_GZIP": "on",
    "GATEWAY_RATE_LIMIT": "20r/s",
    "GATEWAY_CONNECTION_LIMIT": "50",
    "GATEWAY_FORWARDED_HEADER": "on",
    "GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8",
}
# What the linter can't know; everything else that it finds fails the test.
KNOWN = {
    # Only `set`, `proxy_pass`, `access_log` and `break` stand in them; each case is tested with requests.
    "if_is_evil",
    # The renderer looks which OpenSSL there is before it names a group.
    "ssl_ecdh_curve",
    # It compares with worker_connections; we stay below what the container may open.
    "worker_rlimit_nofile_vs_connections",
}


@pytest.mark.parametrize("settings", [{}, ALL_ON], ids=["plain", "all on"])
def test_the_linter_finds_nothing_in_the_whole_configuration(
    gateway_image: str, tmp_path: Path, settings: dict[str, str]
) -> None:
    make_certificate(tmp_path, "shop.test", "shop.test", "www.shop.test")
    env = [word for name, value in (ENV | settings).items() for word in ("-e", f"{name}={value}")]
    mounts = ["-v", f"{tmp_path}:/etc/gateway/certs:ro"] if settings else []
    whole = tmp_path / "whole.conf"
    whole.write_text(docker("run", "--rm", *env, *mounts, gateway_image, "nginx", "-T").stdout)
    gixy = str(Path(sys.executable).with_name("gixy"))
    done = subprocess.run([gixy, "-f", "json", str(whole)], capture_output=True, text=True, timeout=60)
    found = {one["plugin"]: one["reason"] for one in json.loads(done.stdout)}
    assert {name: reason for name, reason in found.items() if name not in KNOWN} == {}


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return blue_serves(plane, SITE)


def slow_header(peer: socket.socket, *, first: bool) -> None:
    peer.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n" if first else b"X: y\r\n")


def slow_body(peer: socket.socket, *, first: bool) -> None:
    peer.sendall(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9999\r\n\r\n" if first else b"x")


def slow_read(peer: socket.socket, *, first: bool) -> None:
    if first:
        peer.sendall(b"GET /?pad=500000 HTTP/1.1\r\nHost: shop.test\r\n\r\n")
    else:
        peer.recv(16)


@pytest.mark.parametrize("attack", [slow_header, slow_body, slow_read])
def test_eight_hundred_slow_clients_cost_the_others_no_answer(
    plane: Plane, proxy: NginxProxy, attack: Callable[..., None]
) -> None:
    peers = []
    try:
        for _ in range(800):
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(10)
            peer.connect(("127.0.0.1", plane.port))
            attack(peer, first=True)
            peers.append(peer)
        statuses = set()
        for _ in range(3):
            for peer in peers:
                attack(peer, first=False)
            statuses |= {plane.get()[0] for _ in range(30)}
        assert statuses == {200}
    finally:
        for peer in peers:
            peer.close()


def test_a_header_that_takes_too_long_is_cut_off(plane: Plane, proxy: NginxProxy) -> None:
    """However steadily it drips: the bound is for the whole header."""
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as peer:
        slow_header(peer, first=True)
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < 30:
                slow_header(peer, first=False)
                time.sleep(0.5)
        assert 15 < time.monotonic() - began < 25


@pytest.mark.parametrize(("size", "status"), [(15_000, b"200"), (20_000, b"400"), (100_000, b"400")])
def test_a_header_may_have_16_kib(plane: Plane, proxy: NginxProxy, size: int, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", plane.port), timeout=5) as peer:
        head = (
            b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\nCookie: " + b"a" * size + b"\r\n\r\n"
        )
        peer.sendall(head)
        assert peer.recv(64).split()[1] == status
