"""What is wrong with a set of variables beyond each value by itself. One line a problem."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.core.model import Strategy
from gateway.settings import rules, table
from gateway.settings.named import Named, first, hosts, said_by, value
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable

_SHOWN = 80  # characters of a refused value in a problem


def misplaced(given: Mapping[str, str]) -> Iterator[str]:
    """With GATEWAY_SITES, what belongs to one site has no un-prefixed form."""
    if not given.get("GATEWAY_SITES"):
        return
    names = {name: var for var in VARIABLES for name in var.names}
    for name, var in names.items():
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
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        hint = " (or is its site missing in GATEWAY_SITES?)" if of_a_site else ""
        yield problem(name, given[name], f"is not a known variable; the nearest is {nearest}{hint}")


def _belongs_to_some_site(name: str) -> bool:
    tails = [tail for var in VARIABLES if var.scope is not Scope.GATEWAY for tail in var.names]
    return any(name.endswith(f"_{tail}") for tail in tails)


def missing(given: Mapping[str, str], named: Sequence[Named]) -> Iterator[str]:
    required = [var for var in VARIABLES if var.required]
    alone = not given.get("GATEWAY_SITES")
    if alone and not any(given.get(name) for site in named for var in required for name in site.names(var)):
        both = " and ".join(f"{PREFIX}{var.name}={var.example.split(',')[0]}" for var in required)
        yield f"no site is set: set {both} (or GATEWAY_SITES for several sites, or sites/<name>.env)"
        return
    for site in named:
        yield from lacking(given, site, "" if alone else f", but GATEWAY_SITES names {site.name}")


def lacking(given: Mapping[str, str], site: Named, cause: str = "") -> Iterator[str]:
    for var in VARIABLES:
        name = site.prefix + var.name
        if var.required and not any(given.get(one) for one in site.names(var)):
            state = "empty" if name in given else "not set"
            yield f"{name} is {state}{cause}: must be {var.rule.text}"


def twice(given: Mapping[str, str], named: Sequence[Named]) -> Iterator[str]:
    """Two names of one variable. Without our prefix it may be meant for another program: ours counts then."""
    for site in named:
        for var in VARIABLES:
            ours, *others = [site.prefix + name for name in var.names]
            for other in others:
                if given.get(ours) and given.get(other):
                    yield problem(other, given[other], f"must be unset when {ours} is set")


def ports(given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]) -> Iterator[str]:
    """A site's port stands in one place."""
    for site in named:
        name = site.prefix + table.UPSTREAM.name
        if name not in values:
            continue
        port = next((one for one in site.names(table.VIRTUAL_PORT) if given.get(one)), "")
        if not port and values[name][1] is None:
            yield problem(name, given[name], f"must be {table.UPSTREAM.rule.text}")
        elif port in values and port.startswith(PREFIX) and values[name][1] not in (None, values[port]):
            yield problem(port, given[port], f"must be unset when {name} names a port")


def strategies(given: Mapping[str, str], values: Mapping[str, Any], named: Sequence[Named]) -> Iterator[str]:
    """What a strategy needs, and what it can't have."""
    for site in named:
        chosen, name = value(table.STRATEGY, site, values), said_by(table.STRATEGY, site, values)
        if chosen == Strategy.CANARY and not value(table.CANARY_STEPS, site, values):
            steps = said_by(table.CANARY_STEPS, site, values)
            yield problem(name, chosen, f"must be another, or {steps} set")
        if chosen == Strategy.ROLLING and value(table.SESSION_TIMEOUT_S, site, values):
            held = said_by(table.SESSION_TIMEOUT_S, site, values)
            rule = f"must be 0 where {name} is {chosen}: that leaves no release for its sessions"
            yield problem(held, given[held], rule)


def metrics_port(given: Mapping[str, str], values: Mapping[str, Any]) -> Iterator[str]:
    """It is never one of the sites'."""
    name = f"{PREFIX}METRICS_PORT"
    for var in VARIABLES:
        taken = PREFIX + var.name
        if var.name in ("HTTP_PORT", "HTTPS_PORT") and values.get(name) == first([taken], var, values):
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
    path, taken = (value(table.PATH_PREFIX, one, values) for one in (site, other))
    if path is None or taken is None:
        without = other if taken is None else site
        hint = f"; to share it by path, set {without.prefix}PATH_PREFIX too" if path != taken else ""
        rule = f"must be in one site only, and {said_by(table.DOMAIN, other, values)} has it{hint}"
        yield problem(said_by(table.DOMAIN, site, values), domain, rule)
        return
    if path == taken:
        rule = f"must not be what {said_by(table.PATH_PREFIX, other, values)} is: both have {domain}"
        yield problem(said_by(table.PATH_PREFIX, site, values), path, rule)
    for var in table.ALIKE:
        mine, theirs = (value(var, one, values) for one in (site, other))
        if mine != theirs:
            name = said_by(var, site, values)
            rule = f"must be what {said_by(var, other, values)} is, {theirs or ''!r}: they share a domain"
            yield problem(name, given[name], rule) if name in values else f"{name} is not set: {rule}"


def problem(name: str, raw: str, rule: str) -> str:
    """One line, whatever the environment holds: repr escapes line breaks and control characters."""
    return f"{name if name.isprintable() else repr(name)}={_shortened(repr(raw))} {rule}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
