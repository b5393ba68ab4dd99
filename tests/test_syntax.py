"""nginx's syntax is read as nginx reads it: https://github.com/nginx/nginx src/core/ngx_conf_file.c."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.syntax import DEEPEST, SyntaxRefused, parse


def words(text: str) -> list[tuple[str, ...]]:
    """Of every directive, blocks before what they hold."""
    return [inner.words for top in parse(text) for inner in top.walk()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b c;", [("a", "b", "c")]),
        ("a;b ;", [("a",), ("b",)]),
        ("a { b 1; c { d; } }", [("a",), ("b", "1"), ("c",), ("d",)]),
        ("a {} b;", [("a",), ("b",)]),
        ("# a b; {\na;", [("a",)]),
        ("a b#c;", [("a", "b#c")]),  # # counts at a word's beginning only
        ("a }b;", None),
        ("a b};", [("a", "b}")]),  # and so does }
        ("a 'b;{}#' \"c d\";", [("a", "b;{}#", "c d")]),
        ("a b'c d';", [("a", "b'c", "d'")]),  # and so do quotes
        (r'a "\"x\\\n\q";', [("a", '"x\\\n\\q')]),
        (r"a b\ c\;d;", [("a", r"b\ c\;d")]),
        ("a ${b}c;", [("a", "${b}c")]),
        ("${}#a\\", None),  # whatever comes after it: this ${ opens no block
        ('if ($a = "b") { c; }', [("if", "($a", "=", "b", ")"), ("c",)]),
        (r"location ~ \.php$ { d; }", [("location", "~", r"\.php$"), ("d",)]),
        ("a 'b'c;", None),
        ("a 'b;", None),
        ("a", None),
        ("a {", None),
        ("}", None),
        (";", None),
        ("{ a; }", None),
        ("a\0;", None),
        ("a { " * (DEEPEST + 1) + "} " * (DEEPEST + 1), None),
        ("", []),
    ],
)
def test_it_is_read_as_nginx_reads_it(text: str, expected: list[tuple[str, ...]] | None) -> None:
    """None: refused."""
    if expected is None:
        with pytest.raises(SyntaxRefused, match=r"^line 1: "):
            parse(text)
    else:
        assert words(text) == expected


def test_a_mistake_is_named_by_its_line() -> None:
    with pytest.raises(SyntaxRefused, match=r'^line 3: the block "b" does not end$'):
        parse("a;\n\nb {\nc;\n")


@given(st.lists(st.text(st.characters(blacklist_categories=["Cc", "Cs"])), min_size=1, max_size=5))
def test_a_quoted_word_comes_back_whatever_it_holds(given: list[str]) -> None:
    quoted = " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in given)
    assert words(f"{quoted};") == [tuple(given)]


@given(st.text("ab$ {};\"'\\#\n()", max_size=40))
def test_whatever_it_is_given_it_reads_or_refuses(text: str) -> None:
    try:
        for directive in words(text):
            assert directive
    except SyntaxRefused:
        pass
