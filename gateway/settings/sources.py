"""Environment and site files -> what is wanted. A mistake in a site's file concerns that site alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.model import Site
from gateway.errors import SettingsInvalid
from gateway.settings import rules, table
from gateway.settings.parsing import Settings, Wanted, parse, parse_site, shared_by_all, wanted
from gateway.settings.table import PREFIX
from gateway.settings.variable import Variable

Items = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SiteFile:
    """`sites/<name>.env` as it was read; `problems` are those of reading it."""

    name: str
    values: Mapping[str, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a site can't be as it is wanted, and the domains (`path` of them) that are its own all the same."""

    reasons: tuple[str, ...]
    domains: tuple[str, ...] = ()
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """No name is in both `wanted` and `refused`. `settings` has the sites of `wanted`."""

    settings: Settings
    wanted: Mapping[str, Wanted]
    refused: Mapping[str, Refused] = field(default_factory=dict)
    passing: bool = False  # a site holds on to a place until it has the one that it wants: look again soon


Claim = tuple[str, str | None]  # a domain, and the path of it; None: all of it


class Owners:
    """Who has which place."""

    def __init__(self) -> None:
        self._there: dict[str, dict[str | None, str]] = {}

    def claim(self, domain: str, path: str | None, site: str) -> str | None:
        """The other site that has it, or a part of it; None: it is the site's from now on."""
        there = self._there.setdefault(domain, {})
        others = there.values() if path is None else (there.get(None), there.get(path))
        other = next((one for one in others if one not in (None, site)), None)
        if other is None:
            there[path] = site
        return other

    def whole(self, domain: str) -> str | None:
        """Who has all of it."""
        return self._there.get(domain, {}).get(None)


class Known(dict[tuple[str, Items, tuple[str, ...], Items], Wanted | Refused]):
    """What was made of each file: to look one over takes 0.2 ms, and most have not changed."""


def desire(
    env: Mapping[str, str],
    files: Sequence[SiteFile] | None,
    *,
    holders: Mapping[Claim, str] | None = None,
    known: Known | None = None,
) -> Desired:
    """`files` None: there is no folder for them, so the environment must name a site.

    `holders`: place -> the site that has it now, and keeps it when another file wants it too.
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
    # A site whose file has a mistake holds on to what it has, too. So does one that is to share a domain that
    # is its own: until it does, another's part of it would be in the way of its last good configuration.
    held = {
        place: name
        for place, name in (holders or {}).items()
        if name in refused or (name in found and place[0] in found[name].site.hosts)
    }
    owners = _owners([w.site for w in fixed.values()], [w.site for w in found.values()], held)
    said = {file.name: file for file in files or ()}
    _refuse({n: _taken(each.site, owners, said[n]) for n, each in found.items()}, found, refused)
    leaders = _leaders(fixed.values(), found.values())
    _refuse({n: _unlike(each, leaders, said[n]) for n, each in found.items()}, found, refused)
    every = fixed | found
    sites = tuple(each.site for each in every.values())
    passing = any(n in found and path != found[n].site.path for (_, path), n in held.items())
    return Desired(replace(settings, sites=sites), every, dict(_free(refused, owners)), passing)


def _refuse(why: Mapping[str, list[str]], found: dict[str, Wanted], refused: dict[str, Refused]) -> None:
    for name, reasons in why.items():
        if reasons:
            site = found.pop(name).site
            refused[name] = Refused(tuple(reasons), site.domains, site.path)


def _free(refused: Mapping[str, Refused], owners: Owners) -> Iterator[tuple[str, Refused]]:
    """With the domains only that nobody else has."""
    for name, each in sorted(refused.items()):
        own = tuple(domain for domain in each.domains if owners.claim(domain, each.path, name) is None)
        yield name, replace(each, domains=own)


def _read(
    file: SiteFile, shared: Items, *, taken: Iterable[str], before: Known, now: Known
) -> Wanted | Refused:
    if not rules.SITE.accepts(file.name):
        return Refused((f"the file's name must be .env after {rules.SITE.text}",))
    if file.name in taken:
        return Refused((f"{file.name!r} is named by the environment too: only one of them may",))
    key = (file.name, tuple(file.values.items()), file.problems, shared)
    now[key] = before[key] if key in before else _made(file, shared)
    return now[key]


def _made(file: SiteFile, shared: Items) -> Wanted | Refused:
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


def _given(var: Variable, file: SiteFile) -> str:
    """The name under which the file gives it; its usual one when it does not."""
    names = (given for one in var.names for given in (one, PREFIX + one))
    return next((given for given in names if file.values.get(given)), var.name)


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


def _owners(fixed: Iterable[Site], files: Iterable[Site], holders: Mapping[Claim, str]) -> Owners:
    """The environment's sites first, then those that have a place now, then by name."""
    owners = Owners()
    _claim_all(fixed, owners)
    for (domain, path), name in holders.items():
        owners.claim(domain, path, name)
    _claim_all(sorted(files, key=lambda site: site.name), owners)
    return owners


def _claim_all(sites: Iterable[Site], owners: Owners) -> None:
    for site in sites:
        for host in site.hosts:
            owners.claim(host, site.path, site.name)


def _taken(site: Site, owners: Owners, file: SiteFile) -> list[str]:
    """Why the site can't have all of its places."""
    reasons = []
    for host in site.hosts:
        if (owner := owners.claim(host, site.path, site.name)) is not None:
            if site.path is None:
                reasons.append(f"{_given(table.DOMAIN, file)}: {host!r} is the domain of {owner}")
                continue
            why = ", which has no PATH_PREFIX yet" if owners.whole(host) == owner else ""
            reasons.append(f"{_given(table.PATH_PREFIX, file)}: {host + site.path!r} is {owner}'s{why}")
    return reasons


def _leaders(fixed: Iterable[Wanted], files: Iterable[Wanted]) -> dict[str, Wanted]:
    """Host name -> the site whose settings it has: the environment's, else that of the shortest path."""
    leaders: dict[str, Wanted] = {}
    for group in (fixed, files):
        for each in sorted(group, key=lambda one: (len(one.site.path or ""), one.site.name)):
            for host in each.site.hosts:
                leaders.setdefault(host, each)
    return leaders


def _unlike(mine: Wanted, leaders: Mapping[str, Wanted], file: SiteFile) -> list[str]:
    """Where it wants something else than the site that it shares a domain with."""
    reasons: dict[str, None] = {}  # each once
    for host in mine.site.hosts:
        leader = leaders[host]
        for var in table.ALIKE:
            theirs = leader.variables.get(var.name, "")
            if mine.variables.get(var.name, "") != theirs:
                must = f"must be {theirs!r} as for {leader.site.name}: they share a domain"
                reasons[f"{_given(var, file)}: {must}"] = None
    return list(reasons)
