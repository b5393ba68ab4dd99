"""Each judge of the fuzz by itself sees what gets in; without it nobody would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.folder import Snippet
from gateway.agent import texts
from gateway.settings import checks, parsing
from gateway.settings.places import SiteFile
from gateway.settings.rules import Rule
from gateway.settings.table import PREFIX, VARIABLES
from tests.fuzz import holds, snippets, told, twin, written
from tests.fuzz.cases import Case
from tests.fuzz.escape import Escape
from tests.fuzz.holds import accepted
from tests.settings_cases import INJECTION, ONE, TWO

JUDGES: Mapping[str, tuple[Any, str]] = {
    "told of the environment": (told, "of_environment"),
    "told of a file": (told, "of_file"),
    "harmless": (written, "harmless"),
    "as written": (written, "as_written"),
    "read back": (texts, "differences"),
    "twin": (twin, "same"),
    "balanced": (snippets, "balanced"),
    "inside": (snippets, "inside"),
}


def forget() -> None:
    """What was made while something was planted."""
    holds._texts.cache_clear()
    written._again.cache_clear()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    forget()


def only(judge: str | None, patch: pytest.MonkeyPatch) -> None:
    """The others see nothing."""
    forget()
    for name, (module, function) in JUDGES.items():
        if name != judge:
            patch.setattr(module, function, lambda *_, **__: ())


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a variable's rule another way to read, for as long as the test runs."""
    undo: list[tuple[Rule, Callable[[str], Any]]] = []

    def planted(name: str, read: Callable[[str], Any]) -> None:
        (rule,) = [var.rule for var in VARIABLES if var.name == name]
        undo.append((rule, rule.read))
        object.__setattr__(rule, "read", read)

    yield planted
    for rule, read in reversed(undo):
        object.__setattr__(rule, "read", read)


def seen_by(judge: str, case: Case, match: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        only(judge, patch)
        with pytest.raises(Escape, match=match):
            accepted(case)
    with pytest.MonkeyPatch.context() as patch:
        only(None, patch)
        accepted(case)


def as_it_is(raw: str) -> str:
    return raw


def as_a_list(raw: str) -> tuple[str, ...]:
    return (raw,)


@pytest.mark.parametrize(
    ("judge", "name", "read", "raw", "match"),
    [
        ("harmless", "DOMAIN", as_a_list, INJECTION, "is a setting"),
        ("harmless", "STATE_DIR", as_it_is, "/a;b", "is a setting"),
        ("twin", "DOMAIN", as_a_list, INJECTION, "was rendered"),
        ("twin", "ACME_DIR", as_it_is, "/srv; autoindex on", "was rendered"),
        ("twin", "RATE_LIMIT", as_it_is, "1r/s; include /etc/passwd", "was rendered"),
        ("twin", "TRUSTED_PROXIES", as_a_list, "10.0.0.1; include x", "was rendered"),
        ("read back", "DOMAIN", as_a_list, "a.test; root /", "what was rendered is not the site"),
        ("read back", "RATE_LIMIT", as_it_is, "1r/s; include /etc/passwd", "beside the site's servers"),
        ("as written", "DOMAIN", lambda raw: (raw.partition(";")[0],), "a.test; root /", "has the hosts"),
        ("as written", "UPSTREAM", lambda _: ("other", 80), "app:80", "leads to other:80"),
    ],
)
def test_a_rule_that_lets_in_what_it_should_not_is_seen_by_one_judge_alone(
    judge: str, name: str, read: Callable[[str], Any], raw: str, match: str, plant: Any
) -> None:
    plant(name, read)
    seen_by(judge, Case(ONE | {PREFIX + name: raw}), match)


def test_a_value_that_is_forgotten_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "shared", lambda _: {})  # what is for all sites
    seen_by("as written", Case(TWO | {"GATEWAY_KEEP_S": "7"}), "KEEP_S='600', and '7' was given")


def test_a_site_that_would_be_another_after_a_restart_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = parsing._site
    monkeypatch.setattr(
        parsing, "_site", lambda site, values: replace(original(site, values), keep_s=float(site.alone))
    )
    seen_by("as written", Case(ONE), "another site after a restart")


@pytest.mark.parametrize(
    ("judge", "text", "match"),
    [
        ("balanced", "} server { listen 81; ", "that nginx reads otherwise"),
        ("balanced", "include /etc/passwd;", "a snippet says"),
        ("inside", "} load_module x; server {", "stands outside of its server"),
        ("read back", "} server { listen 81; server_name x.test; ", "what was rendered is not the site"),
    ],
)
def test_a_snippet_that_nobody_looked_at_is_seen_by_one_judge_alone(
    judge: str, text: str, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "refusals", lambda *_, **__: [])
    seen_by(judge, Case(ONE, snippets={"site": Snippet(text)}), match)


def test_a_snippet_that_comes_out_as_another_is_seen_by_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    original = texts.SiteTexts._text

    def changed(*args: Any, **named: Any) -> str:
        return original(*args, **named).replace("DENY", "ALLOW")

    monkeypatch.setattr(texts.SiteTexts, "_text", changed)
    seen_by("twin", Case(ONE, snippets={"site": Snippet("add_header X-Frame-Options DENY;")}), "rendered: ")


BAD = {"KEEP_S": "soon", "MAX_BODY": ";"}


def _case(where: str) -> Case:
    if where == "told of a file":
        return Case({}, (SiteFile("a", {"DOMAIN": "a.test", "UPSTREAM": "app:1"} | BAD),))
    return Case(ONE | {PREFIX + name: raw for name, raw in BAD.items()})


@pytest.mark.parametrize("where", ["told of a file", "told of the environment"])
@pytest.mark.parametrize(
    ("found", "match"),
    [
        (lambda problems: problems[:1], "has no line of its own"),
        (lambda problems: [*problems, "KEEP='soon' must be a number"], "names no variable that was given"),
        (lambda problems: [*problems, "\n"], "not one line"),
        (lambda _: [], "has no line of its own"),
    ],
    ids=["one line only", "another's name", "two lines", "accepted"],
)
def test_what_is_not_told_as_it_should_be_is_seen(
    where: str, found: Callable[[list[str]], list[str]], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = parsing._read

    def read(given: Mapping[str, str], known: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        values, problems = original(given, known)
        return values, found(problems) if problems else []

    monkeypatch.setattr(parsing, "_read", read)
    seen_by(where, _case(where), match)


@pytest.mark.parametrize(
    ("name", "instead"), [("GATEWAY_SHOP_VIRTUAL_PATH", "GATEWAY_SHOP_PATH_PREFIX"), ("/blog", "/other")]
)
def test_a_collision_that_is_told_of_what_was_not_given_is_seen(
    name: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the fuzz found once."""
    original = checks.problem
    monkeypatch.setattr(checks, "problem", lambda *args: original(*args).replace(name, instead))
    env = TWO | {"GATEWAY_SHOP_VIRTUAL_PATH": "/blog", "GATEWAY_MY_BLOG_PATH_PREFIX": "/blog"}
    env["GATEWAY_MY_BLOG_DOMAIN"] = env["GATEWAY_SHOP_DOMAIN"]
    seen_by("told of the environment", Case(env), "names no variable that was given")
