"""What is in flight when the traffic goes elsewhere: requests and WebSockets, each with its own time."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.gateways import Gateway, Start, wait_for
from tests.e2e.stacks import with_service

pytestmark = pytest.mark.docker

# RFC 6455 section 7.4.1: "going away".
GOODBYE = b"\x88\x02" + (1001).to_bytes(2, "big")
# Echoes what a WebSocket sends; told to stop, it says goodbye to each and ends. A POST is answered when its
# body's last word has come.
APP = """\
import os, signal, socket, threading, time
server, peers = socket.create_server(("", 8000)), set()
def goodbye(*_):
    for peer in list(peers):
        peer.sendall(b"\\x88\\x02\\x03\\xe9")
    os._exit(0)
signal.signal(signal.SIGTERM, goodbye)
def serve(peer):
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += peer.recv(4096)
    if b"Upgrade: websocket" in head:
        peer.sendall(b"HTTP/1.1 101 Upgraded\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n")
        peers.add(peer)
        while data := peer.recv(100):
            peer.sendall(data)
        peers.discard(peer)
    while head.startswith(b"POST") and not head.endswith(b"the end"):
        head += peer.recv(4096)
    release = os.environ["RELEASE"].encode()
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\nConnection: close\\r\\n\\r\\n" + release)
    peer.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def started(start_gateway: Start, **settings: str) -> Gateway:
    gateway = start_gateway(GATEWAY_OBSERVE_S="0.2", GATEWAY_KEEP_S="0", **settings)
    with_service(gateway, entrypoint=["python3", "-c", APP], healthcheck={"disable": True})
    assert gateway.deploy(1).code == 0
    return gateway


@contextmanager
def websocket(gateway: Gateway) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as peer:
        peer.sendall(
            b"GET /ws HTTP/1.1\r\n%sUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            % host(gateway)
        )
        assert peer.recv(4096).startswith(b"HTTP/1.1 101")
        yield peer


def host(gateway: Gateway) -> bytes:
    return f"Host: {gateway.domain}\r\n".encode()


def echoes(peer: socket.socket) -> bool:
    peer.sendall(b"hello")
    return peer.recv(16) == b"hello"


def slot(gateway: Gateway, release: str) -> dict[str, int]:
    """What is in flight to it."""
    slots = gateway.cli("status", gateway.site, "--json").final["slots"]
    (found,) = [held["in_flight"] for held in slots.values() if held["release"] == release]
    return found


def test_a_websocket_holds_up_no_drain_and_its_release_stays_until_it_is_closed(start_gateway: Start) -> None:
    gateway = started(start_gateway, GATEWAY_WEBSOCKET_TIMEOUT_S="60")
    with websocket(gateway) as peer:
        assert slot(gateway, "r1") == {"requests": 0, "sockets": 1}
        assert gateway.deploy(2).code == 0
        wait_for(lambda: gateway.phase() == "keeping", "the drain does not wait for the WebSocket")
        time.sleep(1)
        assert echoes(peer)
        assert slot(gateway, "r1") == {"requests": 0, "sockets": 1}
        assert "blue still has 1 WebSocket; 5" in gateway.cli("status", gateway.site).out
    wait_for(lambda: gateway.phase() == "none", "the release goes with its last WebSocket")
    assert all("-blue-" not in name for name in gateway.containers())


def test_a_websocket_whose_time_is_over_hears_goodbye_of_its_application_and_not_before(
    start_gateway: Start,
) -> None:
    """Not even when the next deploy waits for the slot."""
    gateway = started(start_gateway, GATEWAY_WEBSOCKET_TIMEOUT_S="6", GATEWAY_DRAIN_TIMEOUT_S="1")
    with websocket(gateway) as peer:
        assert gateway.deploy(2).code == 0
        switched = time.monotonic()
        assert echoes(peer)
        assert gateway.deploy(3, "--detach").code == 0  # it came after the slot was free
        assert peer.recv(16) == GOODBYE
        assert peer.recv(16) == b""
    assert time.monotonic() - switched > 5
    wait_for(lambda: gateway.phase() == "none", "the next deployment ends")


def test_a_long_upload_ends_on_the_release_that_it_began_on_and_the_drain_ends_with_it(
    start_gateway: Start,
) -> None:
    gateway = started(start_gateway, GATEWAY_DRAIN_TIMEOUT_S="60", GATEWAY_STREAM_UPLOADS="on")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\n%sContent-Length: 12\r\n\r\nfrom " % host(gateway))
        wait_for(lambda: slot(gateway, "r1")["requests"] == 1, "it is in flight")
        assert gateway.deploy(2, "--detach").code == 0
        wait_for(lambda: gateway.phase() == "draining", "it is waited for")
        told = gateway.cli("status", gateway.site, "--json").final["deployment"]["left_s"]
        assert 0 < told["requests"] < 60 < told["websockets"] <= 120
        assert f'gateway_leaving_in_flight{{kind="requests",site="{gateway.site}",slot="blue"}} 1.0' in (
            gateway.cli("metrics").out.splitlines()
        )
        ending = time.time()
        peer.sendall(b"the end")
        answer = peer.recv(4096)
        answered = time.time()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"1")
    wait_for(lambda: gateway.phase() == "none", "the deployment ends")
    history = map(json.loads, gateway.cli("history", gateway.site, "--json").out.splitlines())
    (timeline,) = [deployment["timeline"] for deployment in history if deployment["release"] == "r2"]
    (drained,) = [each["at"] for each in timeline if each["phase"] == "keeping"]
    print(f"the drain ended {drained - answered:.3f} s after its last request")
    # How soon, test_every_kind says by a median: this is one drain, perhaps on a busy machine.
    assert ending < drained < answered + 5
