"""From variables to Settings. Every problem is found before any is raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.model import ProbePolicy, Site, Strategy
from gateway.core.serving import Edge
from gateway.errors import SettingsInvalid
from gateway.settings import checks, rules, serving, table
from gateway.settings.checks import problem
from gateway.settings.named import Named, first, hosts, strategy, value
from gateway.settings.table import AT_START, FOREIGN, PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway runs with. `network` None: the controller finds it. `metrics_port` None: on none."""

    sites: tuple[Site, ...]
    http_port: int = table.HTTP_PORT
    config_dir: str = table.CONFIG_DIR
    network: str | None = None
    state_dir: str = table.STATE_DIR
    certs_dir: str = serving.CERTS_DIR
    role: str = table.ROLE
    agent: tuple[str, int] = rules.ADDRESS.read(table.AGENT)
    token_file: str = table.TOKEN_FILE
    edge: Edge = field(default_factory=Edge)
    metrics_port: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A site as it is to be, and the un-prefixed variables that say the same."""

    site: Site
    variables: Mapping[str, str]


def at_start(env: Mapping[str, str]) -> Settings:
    """What is read once, without sites. A value that breaks its rule counts as unset: `parse` reports it."""
    known = {PREFIX + var.name: var.rule for var in VARIABLES}
    read = {name: known[name].read(env[name]) for name in AT_START if known[name].accepts(env.get(name, ""))}
    return Settings((), **{name.removeprefix(PREFIX).lower(): value for name, value in read.items()})


def is_ours(name: str) -> bool:
    """Whether a variable of the environment may be meant for the gateway."""
    return name.startswith(PREFIX) or name in FOREIGN


def parse(env: Mapping[str, str], *, needs_a_site: bool = True) -> Settings:
    """Read the GATEWAY_* variables; an empty one counts as unset.

    Without `needs_a_site` no site need be set: they may come from elsewhere.
    Raises errors.SettingsInvalid with one line a problem: variable, value, rule.
    """
    given, named = _given(env)
    if not needs_a_site and named and named[0].alone and not _names_the_only_site(given, named[0]):
        named = ()
    known = _known(named)
    values, problems = _read(given, known)
    problems += checks.unknown(given, known)
    problems += checks.missing(given, named) if named or needs_a_site else ()
    problems += checks.twice(given, named)
    problems += checks.ports(given, values, named)
    problems += checks.strategies(given, values, named)
    problems += checks.metrics_port(given, values)
    problems += checks.shared_domains(given, values, named)
    if problems:
        raise SettingsInvalid(problems)
    once = {
        var.name: first([PREFIX + var.name], var, values) for var in VARIABLES if var.scope is Scope.GATEWAY
    }
    return Settings(
        sites=tuple(_site(site, values) for site in named),
        http_port=once["HTTP_PORT"],
        config_dir=once["CONFIG_DIR"],
        network=once["NETWORK"],
        state_dir=once["STATE_DIR"],
        certs_dir=once["CERTS_DIR"],
        role=once["ROLE"],
        agent=once["AGENT"],
        token_file=once["TOKEN_FILE"],
        edge=serving.edge(once),
        metrics_port=once["METRICS_PORT"],
    )


def parse_site(name: str, given: Mapping[str, str], env: Mapping[str, str]) -> Wanted:
    """A site from variables of its own, without a prefix; what is shared comes from `env`.

    Raises errors.SettingsInvalid with one line a problem: variable, value, rule.
    """
    site = Named(name, "", name, alone=False)
    of_sites = [var for var in VARIABLES if var.scope is not Scope.GATEWAY]
    own = {one: var for var in of_sites for one in site.names(var)}
    raw = dict(given) | shared_by_all(env)
    values, problems = _read(raw, own | _SHARED)
    problems += checks.unknown(given, own)
    problems += checks.lacking(given, site)
    problems += checks.twice(given, [site])
    problems += checks.ports(given, values, [site])
    problems += checks.strategies(raw, values, [site])
    if problems:
        raise SettingsInvalid(problems)
    return Wanted(_site(site, values), _variables(site, raw))


_SHARED = {PREFIX + var.name: var for var in VARIABLES if var.scope is Scope.SHARED}


def shared_by_all(env: Mapping[str, str]) -> dict[str, str]:
    """What of it holds for each site that says nothing else."""
    return {name: env[name] for name in _SHARED if env.get(name)}


def wanted(env: Mapping[str, str], settings: Settings) -> tuple[Wanted, ...]:
    """The sites that `parse` found in `env`, with their variables."""
    given, named = _given(env)
    by_name = {site.name: site for site in named}
    return tuple(Wanted(site, _variables(by_name[site.name], given)) for site in settings.sites)


def _variables(site: Named, given: Mapping[str, str]) -> dict[str, str]:
    """What `parse_site` needs to make the same site again, whatever is shared by then."""
    found = {}
    for var in VARIABLES:
        names = [*site.names(var), PREFIX + var.name]
        raw = next((given[name] for name in names if given.get(name)), var.default)
        if var.scope is not Scope.GATEWAY and raw:
            found[var.name] = raw.replace("<site>", site.stem)
    return found


def _given(env: Mapping[str, str]) -> tuple[dict[str, str], tuple[Named, ...]]:
    """What concerns the gateway, and the sites that are set."""
    given = {name: raw for name, raw in sorted(env.items()) if name.startswith(PREFIX)}
    named = _named(given)
    if named and named[0].alone:
        given |= {name: env[name] for name in FOREIGN if env.get(name)}
    return given, named


def _names_the_only_site(given: Mapping[str, str], site: Named) -> bool:
    own = [var for var in VARIABLES if var is table.SITE or var.scope is Scope.OWN]
    return any(given.get(name) for var in own for name in site.names(var))


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
        strategy=(chosen := strategy(own["STRATEGY"], own["CANARY_STEPS"])),
        steps=own["CANARY_STEPS"] if chosen is Strategy.CANARY else (),
        step_s=own["CANARY_STEP_S"],
        max_p95_ratio=own["MAX_P95_RATIO"],
        observe_s=own["OBSERVE_S"],
        max_5xx_share=own["MAX_5XX_SHARE"],
        drain_timeout_s=own["DRAIN_TIMEOUT_S"],
        websocket_timeout_s=own["WEBSOCKET_TIMEOUT_S"],
        keep_s=own["KEEP_S"],
        hook_timeout_s=own["HOOK_TIMEOUT_S"],
        redirects=redirects,
        path=own["PATH_PREFIX"],
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
