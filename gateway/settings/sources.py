"""Environment and site files -> what is wanted. A mistake in a site's file concerns that site alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.model import Site
from gateway.errors import SettingsInvalid
from gateway.settings import rules, table
from gateway.settings.parsing import Settings, Wanted, parse, parse_site, shared_by_all, wanted
from gateway.settings.table import PREFIX

Items = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SiteFile:
    """`sites/<name>.env` as it was read; `problems` are those of reading it."""

    name: str
    values: Mapping[str, str]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a site can't be as it is wanted, and the domains that are its own all the same."""

    reasons: tuple[str, ...]
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Desired:
    """No name is in both `wanted` and `refused`. `settings` has the sites of `wanted`."""

    settings: Settings
    wanted: Mapping[str, Wanted]
    refused: Mapping[str, Refused] = field(default_factory=dict)


class Known(dict[tuple[str, Items, tuple[str, ...], Items], Wanted | Refused]):
    """What was made of each file: to look one over takes 0.2 ms, and most have not changed."""


def desire(
    env: Mapping[str, str],
    files: Sequence[SiteFile] | None,
    *,
    holders: Mapping[str, str] | None = None,
    known: Known | None = None,
) -> Desired:
    """`files` None: there is no folder for them, so the environment must name a site.

    `holders`: domain -> the site that has it now, and keeps it when another file wants it too.
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
    # A site whose file has a mistake holds on to what it has, too.
    held = {
        domain: name
        for domain, name in (holders or {}).items()
        if name in refused or (name in found and domain in found[name].site.hosts)
    }
    owners = _owners([w.site for w in fixed.values()], [w.site for w in found.values()], held)
    for name, each in list(found.items()):
        if others := [d for d in each.site.hosts if owners[d] != name]:
            del found[name]
            own = tuple(d for d in each.site.domains if owners[d] == name)
            reasons = [f"{table.DOMAIN.name}: {d!r} is the domain of {owners[d]}" for d in others]
            refused[name] = Refused(tuple(reasons), own)
    every = fixed | found
    sites = tuple(each.site for each in every.values())
    return Desired(replace(settings, sites=sites), every, dict(_free(refused, owners)))


def _free(refused: Mapping[str, Refused], owners: dict[str, str]) -> Iterator[tuple[str, Refused]]:
    """With the domains only that nobody else has."""
    for name, each in sorted(refused.items()):
        own = tuple(domain for domain in each.domains if owners.setdefault(domain, name) == name)
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
    domains = next((given[one] for one in table.DOMAIN.names if given.get(one)), "")
    own = table.DOMAIN.rule.read(domains) if table.DOMAIN.rule.accepts(domains) else ()
    if found := (*file.problems, *problems):
        return Refused(found, own)
    try:
        return parse_site(file.name, given, dict(shared))
    except SettingsInvalid as error:
        return Refused(error.problems, own)


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


def _owners(fixed: Iterable[Site], files: Iterable[Site], holders: Mapping[str, str]) -> dict[str, str]:
    """Domain -> its site: the environment's, else the one that has it now, else the first by name."""
    owners = {domain: site.name for site in fixed for domain in site.hosts}
    for domain, names in _claims(files).items():
        owners.setdefault(domain, holders.get(domain) or min(names))
    return owners


def _claims(sites: Iterable[Site]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for site in sites:
        for domain in site.hosts:
            claims.setdefault(domain, []).append(site.name)
    return claims
