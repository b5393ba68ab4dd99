"""Who has which place: a domain, or a path of one that several sites share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.core.model import Site
from gateway.settings import table
from gateway.settings.parsing import Wanted
from gateway.settings.table import PREFIX
from gateway.settings.variable import Variable


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

    def claim_all(self, sites: Iterable[Site]) -> None:
        """Each its own hosts, as far as nobody else has them."""
        for site in sites:
            for host in site.hosts:
                self.claim(host, site.path, site.name)

    def whole(self, domain: str) -> str | None:
        """Who has all of it."""
        return self._there.get(domain, {}).get(None)


def share_out(
    fixed: Mapping[str, Wanted],
    found: dict[str, Wanted],
    refused: dict[str, Refused],
    said: Mapping[str, SiteFile],
    held: Callable[[str], Iterable[Claim]],
) -> tuple[dict[str, Refused], bool]:
    """Whoever can't have what it wants beside the others goes from `found` to `refused`.

    Returns the refused ones with the domains only that nobody else has, and whether a site holds on to a
    place until it has the one that it wants.
    """
    wanting = Counter(host for each in (*fixed.values(), *found.values()) for host in each.site.hosts)
    wanting.update(domain for each in refused.values() for domain in each.domains)
    wanting.update(domain for name in refused for domain, _ in held(name))
    several = {host for host, count in wanting.items() if count > 1}
    concerned = {name: each for name, each in found.items() if not several.isdisjoint(each.site.hosts)}
    # A site whose file has a mistake holds on to what it has, too. So does one that is to share a domain that
    # is its own: until it does, another's part of it would be in the way of its last good configuration.
    holders = {
        place: name
        for name in sorted((*refused, *concerned))
        for place in held(name)
        if name in refused or place[0] in concerned[name].site.hosts
    }
    owners = _owners([w.site for w in fixed.values()], [w.site for w in concerned.values()], holders)
    _refuse({n: _taken(each.site, owners, said[n]) for n, each in concerned.items()}, found, refused)
    left = {name: each for name, each in concerned.items() if name in found}
    leaders = _leaders(fixed.values(), left.values())
    _refuse({n: _unlike(each, leaders, said[n]) for n, each in left.items()}, found, refused)
    passing = any(n in found and path != found[n].site.path for (_, path), n in holders.items())
    return dict(_free(refused, owners)), passing


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


def _given(var: Variable, file: SiteFile) -> str:
    """The name under which the file gives it; its usual one when it does not."""
    names = (given for one in var.names for given in (one, PREFIX + one))
    return next((given for given in names if file.values.get(given)), var.name)


def _owners(fixed: Iterable[Site], files: Iterable[Site], holders: Mapping[Claim, str]) -> Owners:
    """The environment's sites first, then those that have a place now, then by name."""
    owners = Owners()
    owners.claim_all(fixed)
    for (domain, path), name in holders.items():
        owners.claim(domain, path, name)
    owners.claim_all(sorted(files, key=lambda site: site.name))
    return owners


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
