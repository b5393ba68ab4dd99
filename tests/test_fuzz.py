"""The fuzz of scripts/fuzz, as far as seconds go; and that it would find what got in."""

from __future__ import annotations

import pytest

from gateway.adapters.folder import Snippet
from gateway.agent import texts
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz import batch
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


@pytest.mark.parametrize("name", ["DOMAIN", "ACME_DIR", "RATE_LIMIT", "TRUSTED_PROXIES"])
def test_a_rule_that_accepts_everything_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = [var.rule for var in VARIABLES if var.name == name]
    many = name in ("DOMAIN", "TRUSTED_PROXIES")
    fields = {"text": rule.text, "read": (lambda raw: (raw,)) if many else (lambda raw: raw)}
    original = {key: getattr(rule, key) for key in fields}
    for key, value in fields.items():
        object.__setattr__(rule, key, value)
    try:
        with pytest.raises(Escape):
            accepted(Case(ONE | {PREFIX + name: INJECTION}))
        monkeypatch.setattr(texts, "differences", lambda *_: [])  # and without the product's own parser
        with pytest.raises(Escape):
            accepted(Case(ONE | {PREFIX + name: INJECTION}))
    finally:
        for key, value in original.items():
            object.__setattr__(rule, key, value)
