"""A configuration as hypothesis makes it: an environment, site files, snippets, certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from gateway.adapters.folder import Snippet
from gateway.settings import table
from gateway.settings.sources import SiteFile
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz.corpus import FRAGMENTS, INJECTIONS, SNIPPETS, TEMPLATES
from tests.fuzz.values import maker, pairs

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


def hostile(random: Random) -> st.SearchStrategy[tuple[Variable, str]]:
    """A variable with something in it that does not belong there."""

    def spliced(var: Variable, put: str, at: int) -> tuple[Variable, str]:
        base = var.example if at % 3 else maker(var)(Random(at))
        cut = (at // 3) % (len(base) + 1)
        return var, (put if at > 180 else base[:cut] + put + base[cut:])

    fragment = st.sampled_from(INJECTIONS + FRAGMENTS) | st.sampled_from(INJECTIONS) | st.text(max_size=6)
    return st.builds(spliced, st.sampled_from(VARIABLES), fragment, st.integers(0, 200))


def cases(seed: int) -> st.SearchStrategy[Case]:
    """`seed` chooses the values that the rules accept; hypothesis puts them together, and what is hostile."""
    random = Random(seed)
    fine = st.integers(0, 15), st.sampled_from(pairs(random))
    bad = st.tuples(st.integers(0, 15), hostile(random))
    forms = st.sampled_from(["alone", "several", "files", "both"])
    tricks = st.sampled_from(["", "", "", "", "", "bad", "bad", "bad", "bad", "snippet", "steal", "name"])

    @st.composite
    def case(draw: st.DrawFn) -> Case:
        number, form, trick = draw(st.integers(0, 2**14 - 1)), draw(forms), draw(tricks)
        first = number % len(NAMES)
        names = (NAMES * 2)[first : first + 1 + (number >> 3) % 3]
        made, files = world(form, names, number >> 5)
        for turn, (var, raw) in draw(st.lists(st.tuples(*fine), max_size=6)):
            if var not in (table.SITE, table.SITES, table.DOMAIN):
                made.place(var, turn).put(var, raw, turn >> 2)
        if trick == "bad":
            for turn, (var, raw) in draw(st.lists(bad, min_size=1, max_size=2)):
                made.place(var, turn).put(var, raw, turn >> 2)
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
