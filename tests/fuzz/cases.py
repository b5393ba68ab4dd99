"""A configuration as hypothesis makes it: an environment, site files, snippets, certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from random import Random
from typing import TypeVar

from hypothesis import strategies as st

from gateway.adapters.folder import Snippet
from gateway.settings import table
from gateway.settings.places import SiteFile
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz.corpus import FRAGMENTS, INJECTIONS, SNIPPETS, TEMPLATES
from tests.fuzz.values import maker, pairs

T = TypeVar("T")
NAMES = ("shop", "shop-probe", "a", "a-b", "my-blog", "x9", "b" * 31, "mark-0-x")
UPSTREAMS = ("app:8000", "my_app.v2:1", "a:65535", "App-1:80")


@dataclass(frozen=True)
class Case:
    """`files` None: there is no folder for them. `certified`: how many names of a site have a certificate."""

    env: Mapping[str, str]
    files: tuple[SiteFile, ...] | None = None
    snippets: Mapping[str, Snippet] = field(default_factory=dict)
    certified: int = 0
    expired: bool = False


@dataclass(frozen=True)
class _Place:
    """Where a site's variables are written. `alone`: nginx-proxy's names need no prefix."""

    values: dict[str, str]
    prefix: str
    alone: bool = False

    def put(self, var: Variable, raw: str, turn: int) -> None:
        """Under one of its names; a value that was there under another goes."""
        names = [self.prefix + name for name in var.names]
        names += [var.foreign] if self.alone and var.foreign else []
        for name in names:
            self.values.pop(name, None)
        self.values[names[turn % len(names)]] = raw
        upstream = self.prefix + table.UPSTREAM.name
        if var is table.VIRTUAL_PORT and upstream in self.values:
            self.values[upstream] = self.values[upstream].partition(":")[0]


@dataclass(frozen=True)
class _World:
    env: dict[str, str]
    sites: dict[str, _Place]

    def place(self, var: Variable, turn: int) -> _Place:
        shared = _Place(self.env, PREFIX)
        if var.scope is Scope.GATEWAY or (var.scope is Scope.SHARED and turn % 4 == 0):
            return shared
        return list(self.sites.values())[turn % len(self.sites)]


def hosts(site: str, shapes: int) -> str:
    """One to five names that no other site has; `shapes` says which."""
    label = site.replace("-", "")
    every = (
        f"{label}.test",
        f"*.{label}.test",
        f"www.{label}.EXAMPLE",
        f"{label}-1.xn--mnchen-3ya.de",
        label,
    )
    chosen = [host for number, host in enumerate(every) if shapes >> number & 1] or [every[0]]
    return (", " if shapes & 32 else ",").join(chosen)


def world(form: str, names: Sequence[str], shapes: int) -> tuple[_World, dict[str, dict[str, str]]]:
    """Sites without a mistake; and the files that hold some of them."""
    env: dict[str, str] = {}
    files: dict[str, dict[str, str]] = {}
    sites: dict[str, _Place] = {}
    in_env = {"alone": names[:1], "several": names, "files": [], "both": names[:1]}[form]
    if form == "alone":
        sites[names[0]] = _Place(env, PREFIX, alone=True)
        env["GATEWAY_SITE"] = names[0]
    elif in_env:
        env["GATEWAY_SITES"] = ",".join(in_env)
        sites |= {name: _Place(env, f"{PREFIX}{name.upper().replace('-', '_')}_") for name in in_env}
    if form in ("files", "both"):
        files = {name: {} for name in names if name not in in_env}
        sites |= {name: _Place(values, "") for name, values in files.items()}
    for number, (name, place) in enumerate(sites.items()):
        place.put(table.DOMAIN, hosts(name, shapes >> number), shapes >> 5 & shapes)
        place.put(table.UPSTREAM, UPSTREAMS[(shapes + number) % len(UPSTREAMS)], 0)
    return _World(env, sites), files


class _Digits:
    """One number that was drawn, taken apart: a draw costs hypothesis more than all that is made of it."""

    def __init__(self, number: int) -> None:
        self._left = number

    def of(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def below(self, bound: int) -> int:
        self._left, digit = divmod(self._left, bound)
        return digit


def _below(*bounds: int) -> st.SearchStrategy[int]:
    """For `_Digits`. Below 2**24, where hypothesis draws each number alike."""
    size = prod(bounds)
    assert size < 2**24
    return st.integers(0, size - 1)


FORMS = ("alone", "several", "files", "both")
TRICKS = ("", "", "", "", "", "bad", "bad", "bad", "bad", "snippet", "steal", "name")
_HOSTILE = (*INJECTIONS * 8, *FRAGMENTS * 2)
_SPLICES = 201
_TURNS = 16
_FINE = (0, 1, 2, 2, 3, 3, 4, 6)  # values that the rules accept, in an example


def _spliced(drawn: _Digits, put: str) -> tuple[int, Variable, str]:
    """A variable with something in it that does not belong there, and where it is written."""
    turn, var, at = drawn.below(_TURNS), drawn.of(VARIABLES), drawn.below(_SPLICES)
    base = var.example if at % 3 else maker(var)(Random(at))
    cut = (at // 3) % (len(base) + 1)
    return turn, var, (put if at > 180 else base[:cut] + put + base[cut:])


def cases(seed: int) -> st.SearchStrategy[Case]:
    """`seed` chooses the values that the rules accept; hypothesis puts them together, and what is hostile."""
    made_for = pairs(Random(seed))
    heads = _below(len(TRICKS), len(FORMS), len(_FINE), 2**14)
    fine, bad = _below(_TURNS, len(made_for)), _below(_TURNS, len(VARIABLES), _SPLICES, 3)
    hostile = st.sampled_from(_HOSTILE) | st.sampled_from(_HOSTILE) | st.text(max_size=6)

    @st.composite
    def case(draw: st.DrawFn) -> Case:
        head = _Digits(draw(heads))
        trick, form, many, number = head.of(TRICKS), head.of(FORMS), head.of(_FINE), head.below(2**14)
        first = number % len(NAMES)
        names = (NAMES * 2)[first : first + 1 + (number >> 3) % 3]
        made, files = world(form, names, number >> 5)
        for _ in range(many):
            drawn = _Digits(draw(fine))
            turn, (var, raw) = drawn.below(_TURNS), drawn.of(made_for)
            if var not in (table.SITE, table.SITES, table.DOMAIN):
                made.place(var, turn).put(var, raw, turn >> 2)
        if trick == "bad":
            again = True
            while again:
                drawn = _Digits(draw(bad))
                turn, var, raw = _spliced(drawn, draw(hostile))
                made.place(var, turn).put(var, raw, turn >> 2)
                again = drawn.below(3) == 1
        snippets: dict[str, Snippet] = {}
        if trick == "snippet":
            snippets[names[-1]] = draw(_snippets)
        elif trick == "steal" and len(names) > 1:
            list(made.sites.values())[-1].put(table.DOMAIN, hosts(names[0], number >> 5), 0)
        elif trick == "name":
            name, raw = draw(st.sampled_from(FRAGMENTS) | st.text(max_size=4)), "x"
            made.env["GATEWAY_" + name] = raw
        folder = tuple(SiteFile(name, values) for name, values in files.items())
        return Case(made.env, folder if files else None, snippets, number % 7, number % 5 == 0)

    return case()


_written = st.sampled_from(SNIPPETS) | st.lists(
    st.sampled_from([*SNIPPETS, *FRAGMENTS, "return", " 200", ";", "{", "}", "location /"]), max_size=6
).map("".join)
_snippets = st.builds(Snippet, _written) | st.builds(
    Snippet, st.sampled_from(TEMPLATES), is_template=st.just(value=True)
)
