"""Visitors stay with the release on which their session began, on the real thing."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.gateways import Gateway, Start, wait_for
from tests.e2e.stacks import with_service

pytestmark = pytest.mark.docker

# Carts in memory, by a name that each visitor sends.
SHOP = """
import http.server, json, os
carts = {}
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def do_GET(self):
        visitor = self.headers.get("X-Visitor", "")
        if self.path == "/add":
            carts[visitor] = carts.get(visitor, 0) + 1
        body = json.dumps({"release": os.environ["RELEASE"], "cart": carts.get(visitor, 0)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", "own=1; Path=/")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("", 8000), Shop).serve_forever()
"""
VISITORS = 1000
IDLE_S = 5


class Connection(http.client.HTTPConnection):
    def __init__(self, gateway: Gateway) -> None:
        super().__init__("127.0.0.1", gateway.port, timeout=30)
        self.domain = gateway.domain


class Visitor:
    """Keeps the cookies that he is given, as a browser does."""

    def __init__(self, name: str) -> None:
        self.name, self.cookies = name, dict[str, str]()

    def ask(self, connection: Connection, path: str = "/") -> tuple[str, int]:
        """The release that answers, and what is in the cart."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Host": connection.domain, "X-Visitor": self.name} | (
            {"Cookie": cookies} if cookies else {}
        )
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        shown = json.loads(answer.read())
        assert answer.status == 200
        for given in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies[name] = value
        return shown["release"], shown["cart"]


@contextmanager
def connected(gateway: Gateway) -> Iterator[Connection]:
    connection = Connection(gateway)
    yield connection
    connection.close()


@pytest.fixture
def shop(start_gateway: Start) -> Gateway:
    idle_s = f"{IDLE_S}"
    gateway = start_gateway(
        GATEWAY_SESSION_TIMEOUT_S="120", GATEWAY_SESSION_IDLE_S=idle_s, GATEWAY_KEEP_S="0"
    )
    with_service(gateway, entrypoint=["python3", "-c", SHOP], healthcheck={"disable": True})
    return gateway


def test_holders_keep_their_carts_newcomers_get_the_new_release_and_the_last_to_leave_ends_the_previous(
    shop: Gateway,
) -> None:
    shop.deploy(1)
    holders = [Visitor(f"holder {n}") for n in range(VISITORS)]
    with connected(shop) as connection:
        assert {holder.ask(connection, "/add") for holder in holders} == {("1", 1)}
        assert shop.deploy(2).final["phase"] == "holding"
        newcomers = [Visitor(f"new {n}") for n in range(VISITORS)]
        for cart in (1, 2):  # in turn: nobody is silent for as long as a session may be
            for holder, newcomer in zip(holders, newcomers, strict=True):
                assert holder.ask(connection, "/add") == ("1", cart + 1)
                assert newcomer.ask(connection, "/add") == ("2", cart)
        assert 0 < shop.cli("status", shop.site, "--json").final["slots"]["blue"]["sessions"] <= VISITORS
        *gone, last = holders
        until = time.monotonic() + 2 * IDLE_S
        while time.monotonic() < until:
            assert last.ask(connection) == ("1", 3)
            time.sleep(0.2)
        assert shop.phase() == "holding"
        # He leaves. Nobody orders anything, and the previous release goes.
        wait_for(lambda: shop.containers() == [f"{shop.site}-green-app-1"], "the previous release is stopped")
        wait_for(lambda: shop.phase() == "none", "its deployment has ended")
        assert shop.cli("history", shop.site, "--json").out.count('"outcome": "succeeded"') == 2
        assert {visitor.ask(connection) for visitor in (*gone, last)} == {("2", 0)}
        assert {newcomer.ask(connection) for newcomer in newcomers} == {("2", 2)}


def test_a_new_visitor_stays_with_what_he_was_given(shop: Gateway) -> None:
    shop.deploy(1)
    shop.deploy(2)
    with connected(shop) as connection:
        newcomer = Visitor("new")
        assert [newcomer.ask(connection, "/add") for _ in range(3)] == [("2", 1), ("2", 2), ("2", 3)]


def test_the_cookie_selects_nothing_that_is_not_held(shop: Gateway) -> None:
    shop.deploy(1)
    shop.deploy(2)
    zeros = "0" * 32
    forged = ["r1", "r1-x", f"r1-{zeros[:-1]}", f"r9-{zeros}", "blue", f"r2+r1-{zeros}", "../r1", "r1-%00"]
    name = f"gateway_{shop.site}"
    with connected(shop) as connection:
        for value in forged:
            visitor = Visitor("forger")
            visitor.cookies[name] = value
            assert visitor.ask(connection)[0] == "2", value
            assert visitor.cookies[name].startswith("r2-"), value


def test_the_cookie_is_kept_from_scripts_and_other_sites(shop: Gateway) -> None:
    shop.deploy(1)
    given = shop.get().headers.get_list("Set-Cookie")
    assert "own=1; Path=/" in given  # the application's own
    (ours,) = [cookie for cookie in given if cookie.startswith(f"gateway_{shop.site}=r1-")]
    assert ours.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Lax"]


def test_the_next_deploy_does_not_wait_for_sessions(shop: Gateway) -> None:
    shop.deploy(1)
    holder = Visitor("holder")
    with connected(shop) as connection:
        holder.ask(connection, "/add")
        shop.deploy(2)
        assert holder.ask(connection) == ("1", 1)
        assert shop.deploy(3).code == 0
        assert holder.ask(connection) == ("3", 0)  # what he held is gone: he goes to the live one


def test_a_rollback_takes_everyone_back(shop: Gateway) -> None:
    shop.deploy(1)
    shop.deploy(2)
    newcomer = Visitor("new")
    with connected(shop) as connection:
        assert newcomer.ask(connection)[0] == "2"
        assert shop.cli("rollback", shop.site, "--json").code == 0
        assert newcomer.ask(connection)[0] == "1"
