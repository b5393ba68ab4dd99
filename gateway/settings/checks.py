"""What is wrong with a set of variables beyond each value by itself. One line a problem."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.core.model import Strategy
from gateway.core.serving import Protocol
from gateway.settings import rules, table
from gateway.settings.named import FOR_ALL, Named, hosts, once, value
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable

_SHOWN = 80  # characters of a refused value in a problem


_NAMES = {name: var for var in VARIABLES for name in var.names}
_REQUIRED = [var for var in VARIABLES if var.required]
_PROTOCOL = _NAMES["PROTOCOL"]
_TWO_NAMES = [var for var in VARIABLES if len(var.names) > 1]


def misplaced(given: Mapping[str, str]) -> Iterator[str]:
    """With GATEWAY_SITES, what belongs to one site has no un-prefixed form."""
    if not given.get("GATEWAY_SITES"):
        return
    for name, var in _NAMES.items():
        raw = given.get(PREFIX + name)
        if raw and var is table.SITE:
            yield problem(PREFIX + name, raw, "must be unset when GATEWAY_SITES is set")
        elif raw and var.scope is Scope.OWN:
            rule = f"must be unset when GATEWAY_SITES is set; set GATEWAY_<SITE>_{name} for each site"
            yield problem(PREFIX + name, raw, rule)


def unknown(given: Mapping[str, str], known: Mapping[str, Variable]) -> Iterator[str]:
    sites_refused = bool(given.get("GATEWAY_SITES")) and not rules.SITES.accepts(given["GATEWAY_SITES"])
    for name in sorted(given.keys() - known.keys()):
        of_a_site = _belongs_to_some_site(name)
        if sites_refused and of_a_site:
            continue  # it may be the refused site's, which has its own problem
        nearest = _nearest(name, known)
        hint = " (or is its site missing in GATEWAY_SITES?)" if of_a_site else ""
        yield problem(name, given[name], f"is not a known variable; the nearest is {nearest}{hint}")


def _nearest(name: str, known: Iterable[str]) -> str:
    """Most are near one; to compare with all costs ten times as much."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return (near or difflib.get_close_matches(name, known, n=1, cutoff=0))[0]


def _belongs_to_some_site(name: str) -> bool:
    tails = [tail for var in VARIABLES if var.scope is not Scope.GATEWAY for tail in var.names]
    return any(name.endswith(f"_{tail}") for tail in tails)


def missing(given: Mapping[str, str], named: Sequence[Named]) -> Iterator[str]:
    alone = not given.get("GATEWAY_SITES")
    if alone and not any(var in site.own for site in named for var in _REQUIRED):
        both = " and ".join(f"{PREFIX}{var.name}={var.example.split(',')[0]}" for var in _REQUIRED)
        yield f"no site is set: set {both} (or GATEWAY_SITES for several sites, or sites/<name>.env)"
        return
    for site in named:
        yield from lacking(given, site, "" if alone else f", but GATEWAY_SITES names {site.name}")


def lacking(given: Mapping[str, str], site: Named, cause: str = "") -> Iterator[str]:
    for var in _REQUIRED:
        name = site.prefix + var.name
        if var not in site.own:
            state = "empty" if name in given else "not set"
            yield f"{name} is {state}{cause}: must be {var.rule.text}"


def twice(given: Mapping[str, str], named: Sequence[Named]) -> Iterator[str]:
    """Two names of one variable. Without our prefix it may be meant for another program: ours counts then."""
    places = {site.prefix: _TWO_NAMES for site in named}
    places.setdefault(PREFIX, [var for var in _TWO_NAMES if PREFIX + var.name in FOR_ALL])
    for prefix, of_two_names in places.items():
        for var in of_two_names:
            ours, other = (prefix + name for name in var.names)
            if given.get(ours) and given.get(other):
                yield problem(other, given[other], f"must be unset when {ours} is set")


def ports(given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]) -> Iterator[str]:
    """A site's port stands in one place."""
    for site in named:
        name = site.prefix + table.UPSTREAM.name
        if name not in values:
            continue
        port = site.own.get(table.VIRTUAL_PORT, "")
        if not port and values[name][1] is None:
            yield problem(name, given[name], f"must be {table.UPSTREAM.rule.text}")
        elif port in values and port.startswith(PREFIX) and values[name][1] not in (None, values[port]):
            yield problem(port, given[port], f"must be unset when {name} names a port")


def old_assets(given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]) -> Iterator[str]:
    """They are the site's own paths, and nobody asks for one over gRPC."""
    for site in named:
        name, path = site.counting(table.OLD_ASSETS), value(table.PATH_PREFIX, site, values)
        if name is None or name not in values:
            continue
        below = "/" if path in (None, "/") else f"{path}/"
        if not all(folder.startswith(below) and folder != below for folder in values[name]):
            prefix = site.said_by(table.PATH_PREFIX)
            yield problem(name, given[name], f"must be paths below {path}, which is {prefix}")
        if value(_PROTOCOL, site, values) == Protocol.GRPC:
            yield problem(name, given[name], f"must be unset where {site.said_by(_PROTOCOL)} is grpc")


def strategies(given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]) -> Iterator[str]:
    """What a strategy needs, and what it can't have. What was refused already has its own line."""
    for site in named:
        name = site.counting(table.STRATEGY)
        if name is None or name not in values:
            continue
        chosen, steps = values[name], site.said_by(table.CANARY_STEPS)
        held = site.counting(table.SESSION_TIMEOUT_S)
        if chosen == Strategy.CANARY and not given.get(steps):
            yield problem(name, given[name], f"must be another, or {steps} set")
        if chosen == Strategy.ROLLING and held and values.get(held):
            rule = f"must be 0 where {name} is {chosen}: that leaves no release for its sessions"
            yield problem(held, given[held], rule)


def metrics_port(given: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[str]:
    """It is never one of the sites'."""
    name = f"{PREFIX}METRICS_PORT"
    for var in VARIABLES:
        taken = PREFIX + var.name
        if var.name in ("HTTP_PORT", "HTTPS_PORT") and values.get(name) == once(var, values):
            yield problem(name, given[name], f"must be another port than {taken}")


def shared_domains(
    given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]
) -> Iterator[str]:
    """A site has its domains to itself, or as many have one as have each a path of it."""
    owners: dict[str, list[Named]] = {}
    found: dict[str, None] = {}  # in order, each once
    for site in named:
        domains, redirects = hosts(value(table.DOMAIN, site, values) or (), value(table.WWW, site, values))
        for domain in (*domains, *(other for other, _ in redirects)):
            there = owners.setdefault(domain, [])
            for other in there:
                found |= dict.fromkeys(_collisions(domain, site, other, given, values))
            there.append(site)
    yield from found


def _collisions(
    domain: str, site: Named, other: Named, given: Mapping[str, str], values: Mapping[str, Any]
) -> Iterator[str]:
    """Each by the name under which it is given. What was refused already collides with nothing."""
    name, owner = (one.own[table.DOMAIN] for one in (site, other))
    mine, theirs = (one.own.get(table.PATH_PREFIX) for one in (site, other))
    if mine is None or theirs is None:
        lacks = site if mine is None else other
        by_path = f"; to share it by path, set {lacks.prefix}PATH_PREFIX too" if mine or theirs else ""
        yield problem(name, domain, f"must be in one site only, and {owner} has it{by_path}")
        return
    if mine in values and values[mine] == values.get(theirs):
        yield problem(mine, given[mine], f"must not be what {theirs} is: both have {domain}")
    for var in table.ALIKE:
        yield from _unlike(var, site, other, given, values)


def _unlike(
    var: Variable, site: Named, other: Named, given: Mapping[str, str], values: Mapping[str, Any]
) -> Iterator[str]:
    refused = any(name and name not in values for name in (one.counting(var) for one in (site, other)))
    theirs = value(var, other, values)
    if refused or value(var, site, values) == theirs:
        return
    rule = f"must be what {other.said_by(var)} is, {theirs or ''!r}: they share a domain"
    name = site.said_by(var)
    yield problem(name, given[name], rule) if name in values else f"{name} is not set: {rule}"


def problem(name: str, raw: str, rule: str) -> str:
    """One line, whatever the environment holds: repr escapes line breaks and control characters."""
    return f"{name if name.isprintable() else repr(name)}={_shortened(repr(raw))} {rule}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
