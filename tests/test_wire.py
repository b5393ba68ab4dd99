"""What controller and agent tell one another arrives as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.docker_endpoints import configuration, endpoints, pattern
from gateway.adapters.token import read_token
from gateway.adapters.waiting import WaitingFile
from gateway.core.model import ProbeResult, Routing, Sample, Site, Slot
from gateway.core.roster import Entry, Roster, Standing
from gateway.core.serving import Certificate, DomainCertificate, Proxying, Tls
from gateway.errors import Failed, ProxyError
from gateway.wire import ToldRoster, from_wire, to_wire
from tests.e2e.endpoints import used

SITE = Site(
    "shop",
    ("shop.test", "*.shop.test"),
    "app",
    8000,
    "/stacks/shop.yaml",
    steps=(1, 10),
    redirects=(("www.shop.test", "shop.test"),),
    tls=Tls(hsts_s=1),
    proxying=Proxying(rate_limit="20r/s"),
    path="/blog",
)
ROSTER = Roster({"shop": Entry("shop", Standing.CURRENT, SITE, SITE.domains)}, ("a problem",))


@pytest.mark.parametrize(
    "value",
    [
        SITE,
        replace(SITE, path=None, redirects=()),
        ROSTER,
        ToldRoster("v1", ROSTER),
        ToldRoster("v1", None),
        Routing(),
        Routing(Slot.BLUE, share=10, release="r2", held="r1"),
        Routing(Slot.BLUE, share=10, narrowed=Slot.GREEN, within=3),
        Sample(9, 1, 2, 0.5, held=2, sessions=1),
        ProbeResult(ok=False, status=None, body="", detail="no answer"),
        DomainCertificate("shop.test", Certificate("", "", 1.5, expired=True), "expired"),
        DomainCertificate("shop.test", None, "none"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_arrives_as_it_was(value: Any) -> None:
    assert from_wire(type(value), json.loads(json.dumps(to_wire(value)))) == value


@pytest.mark.parametrize("raw", [None, 5, {}, {"name": "shop"}, to_wire(SITE) | {"newer": 1}])
def test_a_value_of_another_version_is_an_error_that_says_what_to_do(raw: Any) -> None:
    with pytest.raises(ProxyError, match="give both the same image"):
        from_wire(Site, raw)


def test_who_waits_is_remembered_across_a_restart(tmp_path: Path) -> None:
    waiting = WaitingFile(tmp_path)
    assert (waiting.told(["shop"]), waiting.told(["shop"])) == (True, False)
    assert WaitingFile(tmp_path)() == {"shop"}
    assert [file.name for file in tmp_path.iterdir()] == ["waiting.json"]


@pytest.mark.parametrize("text", ["", "5", "{", "[[]]"])
def test_a_file_that_can_t_be_read_means_that_nobody_waits(tmp_path: Path, text: str) -> None:
    (tmp_path / "waiting.json").write_text(text)
    assert WaitingFile(tmp_path)() == set()


@pytest.mark.parametrize("raw", [b"", b"x" * 31, b"x" * 40 + b" y", b"\xff" * 40])
def test_a_token_that_is_none_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "token").write_bytes(raw)
    with pytest.raises(Failed, match="GATEWAY_TOKEN_FILE"):
        read_token(str(tmp_path / "token"))


def test_a_token_is_read_without_the_line_s_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x" * 32 + "\n")
    assert read_token(str(tmp_path / "token")) == "x" * 32


def test_the_endpoints_are_what_was_asked_by_kind() -> None:
    log = [
        "GET /v1.45/containers/json?all=1 200",
        "GET /containers/0e6f/json 200",
        "GET /v1.47/containers/shop-blue-app-1/json 404",
        "GET /images/registry.test:5000/a/b:1/json 200",
        "POST /containers/create?name=x 201",
        "2026/01/01 00:00:00 [emerg] something else",
    ]
    assert used(log) == [
        "GET /containers/[A-Za-z0-9_.-]+/json",
        "POST /containers/create",
        "GET /containers/json",
        "GET /images/[A-Za-z0-9._:@/-]+/json",
    ]


def test_each_endpoint_of_the_list_is_let_through_by_a_line_of_its_own() -> None:
    text = configuration(endpoints())
    assert endpoints()
    assert all(rf'"~^{method} (/v1\.[0-9]+)?{path}(\?.*)?$" 1;' in text for method, path in endpoints())
    assert text.count('" 1;') == len(endpoints())
    assert pattern("/_ping") == "/_ping"
