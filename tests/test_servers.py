"""Which nginx servers a site has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.model import Site
from gateway.core.servers import Act, Answer, servers
from gateway.core.serving import Certificate, HttpsMethod, Tls

FIRST, SECOND = Certificate("1", "1", 1e10), Certificate("2", "2", 1e10)
EXPIRED = Certificate("3", "3", 1.0, expired=True)
SITE = Site("shop", ("a.test", "b.test"), "app", 8000, "/stacks/stack.yaml")
HTTP = Answer(Act.SERVE, http=True)
TO_HTTPS = Answer(Act.REDIRECT, http=True, scheme="https")


def shown(site: Site, certificates: dict[str, Certificate]) -> dict[Answer, tuple[str, ...]]:
    return {server.answer: server.names for server in servers(site, certificates)}


def https(certificate: Certificate, *, http: bool = False) -> Answer:
    return Answer(Act.SERVE, http=http, certificate=certificate)


def test_without_a_certificate_all_is_served_over_http() -> None:
    assert shown(SITE, {}) == {HTTP: ("a.test", "b.test")}


def test_with_one_http_leads_to_https() -> None:
    both = {"a.test": FIRST, "b.test": FIRST}
    assert shown(SITE, both) == {TO_HTTPS: ("a.test", "b.test"), https(FIRST): ("a.test", "b.test")}


def test_names_with_different_certificates_have_servers_of_their_own() -> None:
    found = shown(SITE, {"a.test": FIRST, "b.test": SECOND})
    assert found == {TO_HTTPS: ("a.test", "b.test"), https(FIRST): ("a.test",), https(SECOND): ("b.test",)}


def test_a_name_without_one_stays_on_http() -> None:
    assert shown(SITE, {"a.test": FIRST})[HTTP] == ("b.test",)


def test_nobody_is_sent_to_an_expired_one() -> None:
    found = shown(replace(SITE, domains=("a.test",)), {"a.test": EXPIRED})
    assert found == {https(EXPIRED, http=True): ("a.test",)}


@pytest.mark.parametrize(
    ("method", "answers"),
    [
        (HttpsMethod.NOREDIRECT, {https(FIRST, http=True)}),
        (HttpsMethod.NOHTTP, {Answer(Act.CLOSE, http=True), https(FIRST)}),
        (HttpsMethod.NOHTTPS, {HTTP}),
    ],
)
def test_the_method_says_what_serves(method: HttpsMethod, answers: set[Answer]) -> None:
    site = replace(SITE, domains=("a.test",), tls=Tls(method))
    assert shown(site, {"a.test": FIRST}).keys() == answers


def test_a_name_that_leads_to_another_does_so_in_one_step() -> None:
    site = replace(SITE, domains=("a.test",), redirects=(("www.a.test", "a.test"),))
    found = shown(site, {"a.test": FIRST, "www.a.test": SECOND})
    assert found[Answer(Act.REDIRECT, True, SECOND, "https", "a.test")] == ("www.a.test",)  # noqa: FBT003
    found = shown(site, {})
    assert found[Answer(Act.REDIRECT, True, None, "http", "a.test")] == ("www.a.test",)  # noqa: FBT003
