"""The fuzz of scripts/fuzz, as far as seconds go. That its judges see what gets in: test_fuzz_judges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.folder import Snippet
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz import batch
from tests.fuzz.__main__ import EACH, orders
from tests.fuzz.cases import Case
from tests.fuzz.corpus import FRAGMENTS, INJECTIONS, SNIPPETS, TEMPLATES
from tests.fuzz.holds import accepted
from tests.fuzz.values import pairs
from tests.settings_cases import ONE, TWO

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


def test_a_batch_comes_out_the_same_again() -> None:
    first, second = (replace(batch.run(seed=5, examples=60), seconds=0) for _ in range(2))
    assert first == second


def test_what_failed_is_repeated_by_its_own_seed_and_size() -> None:
    every = list(orders(2 * EACH + 7, seed=11))
    assert every == [(11, EACH), (12, EACH), (13, 7)]
    assert [list(orders(size, seed)) for seed, size in every] == [[one] for one in every]
