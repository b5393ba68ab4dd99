"""The fuzz of scripts/fuzz, as far as seconds go; and that it would find what got in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.folder import Snippet
from gateway.agent import texts
from gateway.errors import SettingsInvalid
from gateway.settings.sources import desire
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz import batch, holds
from tests.fuzz.cases import Case
from tests.fuzz.corpus import FRAGMENTS, INJECTIONS, SNIPPETS, TEMPLATES
from tests.fuzz.holds import Escape, accepted
from tests.fuzz.values import pairs
from tests.settings_cases import INJECTION, ONE, TWO

by_name = pytest.mark.parametrize("var", VARIABLES, ids=lambda var: var.name)


@by_name
def test_what_got_in_elsewhere_gets_in_through_no_variable(var: Variable) -> None:
    of_a_site = f"{PREFIX}{'' if var.scope is Scope.GATEWAY else 'SHOP_'}{var.name}"
    for put in INJECTIONS + FRAGMENTS:
        for raw in (put, var.example + put, put + var.example):
            accepted(Case(ONE | {PREFIX + var.name: raw}))
            accepted(Case(TWO | {of_a_site: raw}))


@pytest.mark.parametrize("text", SNIPPETS + TEMPLATES)
def test_no_snippet_leads_out_of_its_server(text: str) -> None:
    for is_template in (False, True):
        accepted(Case(ONE, snippets={"site": Snippet(text, is_template)}))


def test_thousands_of_configurations_hold_and_many_of_them_are_accepted() -> None:
    found = batch.run(seed=1, examples=2500)
    assert found.escape == ""
    assert found.accepted + found.refused == 2500
    assert found.accepted >= 1000


def test_every_variable_but_the_list_of_sites_has_many_values_that_are_accepted() -> None:
    import random

    made = [var.name for var, _ in pairs(random.Random(1))]
    assert {var.name for var in VARIABLES if made.count(var.name) < 12} - {"SITES"} == set()


@pytest.fixture(autouse=True)
def nothing_is_remembered_of_a_judge_that_was_away() -> Iterator[None]:
    yield
    holds._texts.cache_clear()


JUDGES = {
    "settings": (holds, "_harmless", lambda *_: None),
    "meaning": (holds, "_as_written", lambda *_: None),
    "parse-back": (texts, "differences", lambda *_, **__: []),
    "twin": (holds, "_rendered", lambda *_: None),
}


@contextmanager
def a_rule_that_reads(name: str, read: Callable[[str], Any]) -> Iterator[None]:
    (rule,) = [var.rule for var in VARIABLES if var.name == name]
    original = rule.read
    object.__setattr__(rule, "read", read)
    try:
        yield
    finally:
        object.__setattr__(rule, "read", original)


@pytest.mark.parametrize(
    ("judge", "name", "read", "why"),
    [
        ("settings", "ACME_DIR", str, "is a setting"),
        ("settings", "DOMAIN", lambda raw: (raw,), "is a setting"),
        ("meaning", "DOMAIN", lambda raw: ("other.test",), "has the hosts"),
        ("meaning", "UPSTREAM", lambda raw: ("other", 1), "leads to other:1"),
        ("parse-back", "DOMAIN", lambda raw: (raw,), "was accepted, and what was rendered is not the site"),
        ("parse-back", "RATE_LIMIT", str, "was accepted, and what was rendered is not the site"),
        ("twin", "DOMAIN", lambda raw: (raw,), "was rendered"),
        ("twin", "RATE_LIMIT", str, "was rendered"),
    ],
)
def test_each_judge_alone_finds_what_a_rule_lets_in(
    judge: str, name: str, read: Callable[[str], Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other, (module, judges, passes) in JUDGES.items():
        if other != judge:
            monkeypatch.setattr(module, judges, passes)
    case = Case(ONE | {PREFIX + name: INJECTION})
    with a_rule_that_reads(name, read), pytest.raises(Escape, match=why):
        accepted(case)
    monkeypatch.setattr(*JUDGES[judge])
    holds._texts.cache_clear()
    with a_rule_that_reads(name, read):
        assert accepted(case)  # so it was this judge


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("load_module modules/evil.so;", "a snippet says"),
        ("} server { listen 80; server_name x.test; ", "a snippet that nginx reads otherwise"),
    ],
)
def test_a_snippet_is_judged_without_the_product_s_own_list(
    text: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "refusals", lambda *_, **__: [])
    monkeypatch.setattr(texts, "differences", lambda *_, **__: [])
    with pytest.raises(Escape, match=why):
        accepted(Case(ONE, snippets={"site": Snippet(text)}))


def test_a_reason_that_names_nothing_given_is_found() -> None:
    with pytest.raises(Escape, match="names no variable"):
        holds._told(["GATEWAY_PATH='x' must be a path"], {"GATEWAY_OTHER": "x"})
    with pytest.raises(Escape, match="not one line"):
        holds._told(["GATEWAY_PATH='x' must\nbe a path"], {"GATEWAY_PATH": "x"})


def test_of_several_bad_values_each_has_its_own_line() -> None:
    bad = {PREFIX + name: INJECTION for name in ("DOMAIN", "RATE_LIMIT", "ACME_DIR", "READ_TIMEOUT_S")}
    with pytest.raises(SettingsInvalid) as refused:
        desire(ONE | bad, None)
    assert {problem.partition("=")[0] for problem in refused.value.problems} == set(bad)


@contextmanager
def fuzz(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz", "--seed", "1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def its_workers(process: subprocess.Popen[str]) -> list[int]:
    """Those that have begun to work."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + 30
    while len(found := children.read_text().split()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    return [int(pid) for pid in found]


def test_ctrl_c_ends_it_with_what_was_counted_and_leaves_no_process() -> None:
    with fuzz("--examples", "1000000") as process:
        workers = its_workers(process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out.splitlines()[-1])["escapes"] == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_process_of_it_that_is_killed_is_told_and_not_waited_for() -> None:
    with fuzz("--examples", "1000000") as process:
        os.kill(its_workers(process)[-1], signal.SIGKILL)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "was killed" in err
