"""From variables to Settings. Every problem is found before any is raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.model import ProbePolicy, Site
from gateway.core.serving import Edge
from gateway.errors import SettingsInvalid
from gateway.settings import checks, rules, serving, table
from gateway.settings.checks import problem
from gateway.settings.named import Named, first, hosts, value
from gateway.settings.table import FOREIGN, PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway runs with. `network` None: the controller finds it."""

    sites: tuple[Site, ...]
    http_port: int = table.HTTP_PORT
    network: str | None = None
    state_dir: str = table.STATE_DIR
    certs_dir: str = serving.CERTS_DIR
    edge: Edge = field(default_factory=Edge)


def parse(env: Mapping[str, str]) -> Settings:
    """Read the GATEWAY_* variables; an empty one counts as unset.

    Raises errors.SettingsInvalid with one line a problem: variable, value, rule.
    """
    given = {name: raw for name, raw in sorted(env.items()) if name.startswith(PREFIX)}
    named = _named(given)
    if named and named[0].alone:
        given |= {name: env[name] for name in FOREIGN if env.get(name)}
    known = _known(named)
    values, problems = _read(given, known)
    problems += checks.unknown(given, known)
    problems += checks.missing(given, named)
    problems += checks.twice(given, named)
    problems += checks.ports(given, values, named)
    problems += checks.shared_domains(values, named)
    if problems:
        raise SettingsInvalid(problems)
    once = {
        var.name: first([PREFIX + var.name], var, values) for var in VARIABLES if var.scope is Scope.GATEWAY
    }
    return Settings(
        sites=tuple(_site(site, values) for site in named),
        http_port=once["HTTP_PORT"],
        network=once["NETWORK"],
        state_dir=once["STATE_DIR"],
        certs_dir=once["CERTS_DIR"],
        edge=serving.edge(once),
    )


def _named(given: Mapping[str, str]) -> tuple[Named, ...]:
    """The sites that are set. Bad names are left out here: `_read` reports them."""
    several = given.get("GATEWAY_SITES")
    if not several:
        name = given.get("GATEWAY_SITE") or str(table.SITE.default)
        return (Named(name, PREFIX, "stack", alone=True),)
    names = dict.fromkeys(name for name in rules.split(several) if rules.SITE.accepts(name))
    prefixes = {name: f"{PREFIX}{name.upper().replace('-', '_')}_" for name in names}
    return tuple(Named(name, prefix, name, alone=False) for name, prefix in prefixes.items())


def _known(named: Sequence[Named]) -> dict[str, Variable]:
    """Full name -> variable. Unique, since no variable's name ends in `_` and another's (see the tests)."""
    own = {
        name: var
        for site in named
        for var in VARIABLES
        if var.scope is not Scope.GATEWAY
        for name in site.names(var)
    }
    return {PREFIX + name: var for var in VARIABLES for name in var.names} | own


def _read(given: Mapping[str, str], known: Mapping[str, Variable]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in filter(given.get, given.keys() & known.keys()):
        try:
            values[name] = known[name].rule.read(given[name])
        except ValueError:
            problems.append(problem(name, given[name], f"must be {known[name].rule.text}"))
    problems.extend(checks.misplaced(given))
    return values, sorted(problems)


def _site(site: Named, values: Mapping[str, Any]) -> Site:
    own = {var.name: value(var, site, values) for var in VARIABLES if var.scope is not Scope.GATEWAY}
    service, port = own["UPSTREAM"]
    domains, redirects = hosts(own["DOMAIN"], own["WWW"])
    return Site(
        name=site.name,
        domains=domains,
        service=service,
        port=port or own["VIRTUAL_PORT"],
        stack_file=own["STACK_FILE"],
        probe=_probe(own),
        session_timeout_s=own["SESSION_TIMEOUT_S"],
        session_idle_s=own["SESSION_IDLE_S"],
        steps=own["CANARY_STEPS"] or (),
        step_s=own["CANARY_STEP_S"],
        max_p95_ratio=own["MAX_P95_RATIO"],
        observe_s=own["OBSERVE_S"],
        max_5xx_share=own["MAX_5XX_SHARE"],
        drain_timeout_s=own["DRAIN_TIMEOUT_S"],
        keep_s=own["KEEP_S"],
        redirects=redirects,
        tls=serving.tls(own),
        proxying=serving.proxying(own),
    )


def _probe(own: Mapping[str, Any]) -> ProbePolicy:
    status_min, status_max = own["PROBE_STATUS"]
    return ProbePolicy(
        path=own["PROBE_PATH"],
        status_min=status_min,
        status_max=status_max,
        body=own["PROBE_BODY"],
        interval_s=own["PROBE_INTERVAL_S"],
        timeout_s=own["PROBE_TIMEOUT_S"],
        successes=own["PROBE_SUCCESSES"],
        start_deadline_s=own["START_DEADLINE_S"],
    )
