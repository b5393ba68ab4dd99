"""Environment and site files -> what is wanted. A mistake in a site's file concerns that site alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core.model import Site
from gateway.errors import SettingsInvalid
from gateway.settings import rules, table
from gateway.settings.parsing import Settings, Wanted, parse, parse_site, wanted
from gateway.settings.table import PREFIX


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


def desire(
    env: Mapping[str, str], files: Sequence[SiteFile] | None, *, holders: Mapping[str, str] | None = None
) -> Desired:
    """`files` None: there is no folder for them, so the environment must name a site.

    `holders`: domain -> the site that has it now, and keeps it when another file wants it too.
    Raises errors.SettingsInvalid for problems of the environment, all at once.
    """
    settings = parse(env, needs_a_site=files is None)
    fixed = {each.site.name: each for each in wanted(env, settings)}
    found: dict[str, Wanted] = {}
    refused: dict[str, Refused] = {}
    for file in files or ():
        result = _read(file, env, taken=fixed)
        if isinstance(result, Refused):
            refused[file.name] = result
        else:
            found[file.name] = result
    # A site whose file has a mistake holds on to what it has, too.
    held = {
        domain: name
        for domain, name in (holders or {}).items()
        if name in refused or (name in found and domain in found[name].site.hosts)
    }
    owners = _owners([w.site for w in fixed.values()], [w.site for w in found.values()], held)
    for name, each in list(found.items()):
        if shared := [d for d in each.site.hosts if owners[d] != name]:
            del found[name]
            own = tuple(d for d in each.site.domains if owners[d] == name)
            said = _said_by({file.name: file for file in files or ()}[name])
            reasons = [f"{said}: {d!r} is the domain of {owners[d]}" for d in shared]
            refused[name] = Refused(tuple(reasons), own)
    every = fixed | found
    sites = tuple(each.site for each in every.values())
    return Desired(replace(settings, sites=sites), every, dict(_free(refused, owners)))


def _free(refused: Mapping[str, Refused], owners: dict[str, str]) -> Iterator[tuple[str, Refused]]:
    """With the domains only that nobody else has."""
    for name, each in sorted(refused.items()):
        own = tuple(domain for domain in each.domains if owners.setdefault(domain, name) == name)
        yield name, replace(each, domains=own)


def _read(file: SiteFile, env: Mapping[str, str], taken: Iterable[str]) -> Wanted | Refused:
    if not rules.SITE.accepts(file.name):
        return Refused((f"the file's name must be .env after {rules.SITE.text}",))
    if file.name in taken:
        return Refused((f"{file.name!r} is named by the environment too: only one of them may",))
    given, problems = _unprefixed(file.values)
    domains = next((given[one] for one in table.DOMAIN.names if given.get(one)), "")
    own = table.DOMAIN.rule.read(domains) if table.DOMAIN.rule.accepts(domains) else ()
    if found := (*file.problems, *problems):
        return Refused(found, own)
    try:
        return parse_site(file.name, given, env)
    except SettingsInvalid as error:
        return Refused(error.problems, own)


def _said_by(file: SiteFile) -> str:
    """The name under which a file gives its site's domains."""
    names = (name for one in table.DOMAIN.names for name in (one, PREFIX + one))
    return next(name for name in names if file.values.get(name))


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
