"""Sites that share a domain by path: who has which part of it, and who is refused."""

from __future__ import annotations

import pytest

from gateway.settings import parse
from gateway.settings.places import Claim, SiteFile
from gateway.settings.sources import Desired, desire
from gateway.settings.table import PATH_PREFIX
from tests.settings_cases import held_by, problems

TWO = {
    "GATEWAY_SITES": "shop,blog",
    "GATEWAY_SHOP_DOMAIN": "x.test",
    "GATEWAY_SHOP_UPSTREAM": "app:80",
    "GATEWAY_SHOP_PATH_PREFIX": "/",
    "GATEWAY_BLOG_DOMAIN": "x.test",
    "GATEWAY_BLOG_UPSTREAM": "app:80",
    "GATEWAY_BLOG_PATH_PREFIX": "/blog",
}


def site(name: str, path: str | None = None, domain: str = "x.test", **more: str) -> SiteFile:
    values = {"DOMAIN": domain, "UPSTREAM": "app:80", **({"PATH_PREFIX": path} if path else {}), **more}
    return SiteFile(name, values)


def paths(found: Desired) -> dict[str, str | None]:
    return {name: wanted.site.path for name, wanted in found.wanted.items()}


def why(found: Desired) -> dict[str, str]:
    return {name: "; ".join(refused.reasons) for name, refused in found.refused.items()}


def test_each_has_its_own_path_of_the_domain() -> None:
    assert [(one.addresses, one.path) for one in parse(TWO).sites] == [
        (("x.test",), "/"),
        (("x.test/blog",), "/blog"),
    ]
    assert paths(desire({}, [site("a", "/"), site("b", "/b"), site("c", "/b/c")])) == {
        "a": "/",
        "b": "/b",
        "c": "/b/c",
    }


def test_what_was_refused_collides_with_nothing() -> None:
    assert problems(TWO | {"GATEWAY_BLOG_WWW": "yes", "GATEWAY_BLOG_PATH_PREFIX": "blog"}) == (
        f"GATEWAY_BLOG_PATH_PREFIX='blog' must be {PATH_PREFIX.rule.text}",
        "GATEWAY_BLOG_WWW='yes' must be as-is, add or remove",
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"GATEWAY_BLOG_PATH_PREFIX": "/"},
            "GATEWAY_BLOG_PATH_PREFIX='/' must not be what GATEWAY_SHOP_PATH_PREFIX is: both have x.test",
        ),
        (
            {"GATEWAY_SHOP_PATH_PREFIX": ""},
            "GATEWAY_BLOG_DOMAIN='x.test' must be in one site only, and GATEWAY_SHOP_DOMAIN has it; to share "
            "it by path, set GATEWAY_SHOP_PATH_PREFIX too",
        ),
        (
            {"GATEWAY_BLOG_HTTPS_METHOD": "nohttp"},
            "GATEWAY_BLOG_HTTPS_METHOD='nohttp' must be what GATEWAY_SHOP_HTTPS_METHOD is, 'redirect': they "
            "share a domain",
        ),
        (
            {"GATEWAY_BLOG_PATH_PREFIX": "", "GATEWAY_BLOG_VIRTUAL_PATH": "/"},
            "GATEWAY_BLOG_VIRTUAL_PATH='/' must not be what GATEWAY_SHOP_PATH_PREFIX is: both have x.test",
        ),
        (
            {"GATEWAY_SHOP_HTTPS_METHOD": "nohttp"},
            "GATEWAY_BLOG_HTTPS_METHOD is not set: must be what GATEWAY_SHOP_HTTPS_METHOD is, 'nohttp': they "
            "share a domain",
        ),
        (
            {"GATEWAY_HTTPS_METHOD": "nohttp", "GATEWAY_SHOP_HTTPS_METHOD": "redirect"},
            "GATEWAY_HTTPS_METHOD='nohttp' must be what GATEWAY_SHOP_HTTPS_METHOD is, 'redirect': they "
            "share a domain",
        ),
    ],
)
def test_in_the_environment_what_collides_is_refused_naming_both(
    changed: dict[str, str], problem: str
) -> None:
    assert problems(TWO | changed) == (problem,)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (site("b", "/a"), "PATH_PREFIX: 'x.test/a' is a's"),
        (site("b"), "DOMAIN: 'x.test' is the domain of a"),
        (
            site("b", "/b", HTTPS_METHOD="nohttp"),
            "HTTPS_METHOD: must be 'redirect' as for a: they share a domain",
        ),
        (site("b", "/b", WWW="add"), "WWW: must be 'as-is' as for a: they share a domain"),
        (site("b", "/b", CERT_NAME="c"), "CERT_NAME: must be '' as for a: they share a domain"),
        (site("b", "/b", HSTS_S="9"), "HSTS_S: must be '0' as for a: they share a domain"),
        (site("b", VIRTUAL_PATH="/a"), "VIRTUAL_PATH: 'x.test/a' is a's"),
        (site("b", GATEWAY_VIRTUAL_PATH="/a"), "GATEWAY_VIRTUAL_PATH: 'x.test/a' is a's"),
        (site("b", "/b", GATEWAY_WWW="add"), "GATEWAY_WWW: must be 'as-is' as for a: they share a domain"),
    ],
)
def test_of_two_files_that_collide_one_is_refused_and_keeps_what_is_its_own(
    second: SiteFile, reason: str
) -> None:
    found = desire({}, [site("a", "/a"), second])
    assert paths(found) == {"a": "/a"}
    assert list(found.refused) == ["b"]
    assert reason in why(found)["b"]
    assert bool(found.refused["b"].domains) is (second.values.get("PATH_PREFIX") == "/b")


def test_the_site_of_the_shortest_path_says_what_belongs_to_the_domain() -> None:
    found = desire({}, [site("a", "/long"), site("b", "/", HTTPS_METHOD="noredirect")])
    assert (paths(found), list(found.refused)) == ({"b": "/"}, ["a"])


def test_a_site_alone_says_how_it_is_to_be_shared() -> None:
    found = desire({}, [site("a"), site("b", "/b")])
    assert why(found) == {"b": "PATH_PREFIX: 'x.test/b' is a's, which has no PATH_PREFIX yet"}


@pytest.mark.parametrize(
    ("has", "wanted", "passing"),
    [
        # What was all of one site's is shared in two steps: its last good configuration has all of it.
        (("x.test", None), {"a": "/"}, True),
        (("x.test", "/"), {"a": "/", "b": "/b"}, False),
    ],
)
def test_another_gets_its_part_once_nginx_runs_the_first_with_less(
    has: Claim,
    wanted: dict[str, str],
    passing: bool,  # noqa: FBT001
) -> None:
    found = desire({}, [site("a", "/"), site("b", "/b")], held=held_by(a=has))
    assert (paths(found), found.passing) == (wanted, passing)


def test_a_domain_that_others_have_parts_of_is_not_taken_back_whole() -> None:
    found = desire({}, [site("a"), site("b", "/b")], held=held_by(a=("x.test", "/"), b=("x.test", "/b")))
    assert why(found) == {"a": "DOMAIN: 'x.test' is the domain of b"}


def test_a_site_whose_file_has_a_mistake_holds_its_path_and_no_more() -> None:
    broken = site("b", "/b", KEEP_S="x")
    found = desire({}, [site("a", "/"), site("c", "/b"), broken], held=held_by(b=("x.test", "/b")))
    assert (paths(found), sorted(found.refused)) == ({"a": "/"}, ["b", "c"])
    assert (found.refused["b"].domains, found.refused["b"].path) == (("x.test",), "/b")
