"""docs/configuration.md says what `gateway.settings` does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.settings import parse
from gateway.settings.docs import render_markdown
from gateway.settings.parsing import parse_site
from gateway.settings.table import VARIABLES
from gateway.settings.variable import Variable

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_the_committed_page_is_the_generated_one() -> None:
    """Else run: python -m gateway.settings.docs > docs/configuration.md"""
    assert PAGE.read_text(encoding="utf-8") == render_markdown()


def test_the_page_s_examples_are_accepted() -> None:
    blocks = re.findall(r"^```\n(.*?)^```", render_markdown(), re.DOTALL | re.MULTILINE)
    *environments, own = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    parsed = [[site.name for site in parse(env).sites] for env in environments]
    assert parsed == [["site"], ["shop", "my-blog"], ["site"]]
    assert parse_site("wiki", own, {}).site.keep_s == 60


@pytest.mark.parametrize("var", VARIABLES, ids=lambda var: var.name)
def test_each_variable_has_a_row_an_accepted_example_and_an_accepted_default(var: Variable) -> None:
    (row,) = [line for line in render_markdown().splitlines() if line.startswith(f"| `GATEWAY_{var.name}` |")]
    assert len(re.split(r"(?<!\\)\|", row)) == 7
    assert var.rule.accepts(var.example)
    assert var.default is None or var.rule.accepts(var.default.replace("<site>", "shop"))
