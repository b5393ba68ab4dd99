"""Environment and site files -> what is wanted. A mistake in a site's file concerns that site alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.errors import SettingsInvalid
from gateway.settings import rules, table
from gateway.settings.parsing import Settings, Wanted, parse, parse_site, shared_by_all, wanted
from gateway.settings.places import Claim, Refused, SiteFile, share_out
from gateway.settings.table import PREFIX
from gateway.settings.variable import Variable

Items = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Desired:
    """No name is in both `wanted` and `refused`. `settings` has the sites of `wanted`."""

    settings: Settings
    wanted: Mapping[str, Wanted]
    refused: Mapping[str, Refused] = field(default_factory=dict)
    passing: bool = False  # a site holds on to a place until it has the one that it wants: look again soon


class Known(dict[str, tuple[SiteFile, Items, Wanted | Refused]]):
    """By site, what was made of its file: to look one over takes 0.2 ms, and most have not changed."""


def _nothing(_: str) -> Iterable[Claim]:
    return ()


def desire(
    env: Mapping[str, str],
    files: Sequence[SiteFile] | None,
    *,
    held: Callable[[str], Iterable[Claim]] = _nothing,
    known: Known | None = None,
) -> Desired:
    """`files` None: there is no folder for them, so the environment must name a site.

    `held`: site -> the places that it has now, and keeps when another file wants them too.
    `known`: what the last call made of each file; brought up to date.
    Raises errors.SettingsInvalid for problems of the environment, all at once.
    """
    settings = parse(env, needs_a_site=files is None)
    fixed = {each.site.name: each for each in wanted(env, settings)}
    found: dict[str, Wanted] = {}
    refused: dict[str, Refused] = {}
    shared = tuple(sorted(shared_by_all(env).items()))
    before, now = known or Known(), Known()
    for file in files or ():
        result = _read(file, shared, taken=fixed, before=before, now=now)
        if isinstance(result, Refused):
            refused[file.name] = result
        else:
            found[file.name] = result
    if known is not None:
        known.clear()
        known.update(now)
    said = {file.name: file for file in files or ()}
    refused, passing = share_out(fixed, found, refused, said, held)
    every = fixed | found
    sites = tuple(each.site for each in every.values())
    return Desired(replace(settings, sites=sites), every, refused, passing)


def _read(
    file: SiteFile, shared: Items, *, taken: Iterable[str], before: Known, now: Known
) -> Wanted | Refused:
    if file.name in taken:
        return Refused((f"{file.name!r} is named by the environment too: only one of them may",))
    known = before.get(file.name)
    if known is None or known[:2] != (file, shared):
        known = file, shared, _made(file, shared)
    now[file.name] = known
    return known[2]


def _made(file: SiteFile, shared: Items) -> Wanted | Refused:
    if not rules.SITE.accepts(file.name):
        return Refused((f"the file's name must be .env after {rules.SITE.text}",))
    given, problems = _unprefixed(file.values)
    own = _fine(table.DOMAIN, given) or (), _fine(table.PATH_PREFIX, given)
    if found := (*file.problems, *problems):
        return Refused(found, *own)
    try:
        return parse_site(file.name, given, dict(shared))
    except SettingsInvalid as error:
        return Refused(error.problems, *own)


def _fine(var: Variable, given: Mapping[str, str]) -> Any:
    """The variable's value; None where it is not set or breaks its rule."""
    raw = next((given[one] for one in var.names if given.get(one)), "")
    return var.rule.read(raw) if var.rule.accepts(raw) else None


def _unprefixed(values: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """GATEWAY_DOMAIN and DOMAIN mean the same in a site's file."""
    given: dict[str, str] = {}
    problems = []
    for name, value in values.items():
        short = name.removeprefix(PREFIX)
        if short in given:
            problems.append(f"{short} is set twice, with {PREFIX} and without")
        given[short] = value
    return given, problems
