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
from gateway.settings.named import FOR_ALL, OF_A_SITE, Named, hosts, once, own, shared, strategy, value
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
    engine: str = table.ENGINE
    role: str = table.ROLE
    agent: tuple[str, int] = rules.ADDRESS.read(table.AGENT)
    token_file: str = table.TOKEN_FILE
    edge: Edge = field(default_factory=Edge)
    metrics_port: int | None = None

    @property
    def is_of_a_fleet(self) -> bool:
        """One of many gateways, which serves only while it knows that it is up to date."""
        return self.role == "gateway" and self.engine == "swarm"


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
    given, named = _given(env, needs_a_site=needs_a_site)
    known = _known(named)
    values, problems = _read(given, known)
    problems += checks.unknown(given, known)
    problems += checks.missing(given, named) if named or needs_a_site else ()
    problems += checks.twice(given, named)
    problems += checks.ports(given, values, named)
    problems += checks.old_assets(given, values, named)
    problems += checks.strategies(given, values, named)
    problems += checks.metrics_port(given, values)
    problems += checks.shared_domains(given, values, named)
    if problems:
        raise SettingsInvalid(problems)
    whole = {var.name: once(var, values) for var in _ONCE}
    return Settings(
        sites=tuple(_site(site, values) for site in named),
        http_port=whole["HTTP_PORT"],
        config_dir=whole["CONFIG_DIR"],
        network=whole["NETWORK"],
        state_dir=whole["STATE_DIR"],
        certs_dir=whole["CERTS_DIR"],
        engine=whole["ENGINE"],
        role=whole["ROLE"],
        agent=whole["AGENT"],
        token_file=whole["TOKEN_FILE"],
        edge=serving.edge(whole),
        metrics_port=whole["METRICS_PORT"],
    )


def parse_site(name: str, given: Mapping[str, str], env: Mapping[str, str]) -> Wanted:
    """A site from variables of its own, without a prefix; what is shared comes from `env`.

    Raises errors.SettingsInvalid with one line a problem: variable, value, rule.
    """
    raw = dict(given) | shared_by_all(env)
    site = Named(name, "", name, alone=False, own=own("", raw), shared=shared(raw))
    values, problems = _read(raw, _OF_A_FILE)
    problems += checks.unknown(given, OF_A_SITE)
    problems += checks.lacking(given, site)
    problems += checks.twice(given, [site])
    problems += checks.ports(given, values, [site])
    problems += checks.old_assets(raw, values, [site])
    problems += checks.strategies(raw, values, [site])
    if problems:
        raise SettingsInvalid(problems)
    return Wanted(_site(site, values), _variables(site, raw))


_ONCE = [var for var in VARIABLES if var.scope is Scope.GATEWAY]
_SITES_OWN = [var for var in VARIABLES if var.scope is not Scope.GATEWAY]
_OF_A_FILE = OF_A_SITE | FOR_ALL
_UNPREFIXED = {PREFIX + name: var for var in VARIABLES for name in var.names}


def shared_by_all(env: Mapping[str, str]) -> dict[str, str]:
    """What of it holds for each site that says nothing else."""
    return {name: env[name] for name in FOR_ALL if env.get(name)}


def wanted(env: Mapping[str, str], settings: Settings) -> tuple[Wanted, ...]:
    """The sites that `parse` found in `env`, with their variables."""
    given, named = _given(env)
    by_name = {site.name: site for site in named}
    return tuple(Wanted(site, _variables(by_name[site.name], given)) for site in settings.sites)


def _variables(site: Named, given: Mapping[str, str]) -> dict[str, str]:
    """What `parse_site` needs to make the same site again, whatever is shared by then."""
    found = {}
    for var in _SITES_OWN:
        if name := site.counting(var):
            found[var.name] = given[name]
        elif var.default:
            found[var.name] = var.default.replace("<site>", site.stem)
    return found


def _given(env: Mapping[str, str], *, needs_a_site: bool = True) -> tuple[dict[str, str], tuple[Named, ...]]:
    """What concerns the gateway, and the sites that are set."""
    given = {name: raw for name, raw in sorted(env.items()) if name.startswith(PREFIX)}
    if given.get("GATEWAY_SITES"):
        return given, _several(given)
    with_theirs = given | {name: env[name] for name in FOREIGN if env.get(name)}
    names = own(PREFIX, with_theirs, alone=True)
    if needs_a_site or given.get("GATEWAY_SITE") or any(var.scope is Scope.OWN for var in names):
        name = given.get("GATEWAY_SITE") or str(table.SITE.default)
        return with_theirs, (Named(name, PREFIX, "stack", alone=True, own=names, shared={}),)
    return given, ()


def _several(given: Mapping[str, str]) -> tuple[Named, ...]:
    """Bad names are left out here: `_read` reports them."""
    names = dict.fromkeys(name for name in rules.split(given["GATEWAY_SITES"]) if rules.SITE.accepts(name))
    prefixes = {name: f"{PREFIX}{name.upper().replace('-', '_')}_" for name in names}
    all_sites = shared(given)
    return tuple(
        Named(name, prefix, name, alone=False, own=own(prefix, given), shared=all_sites)
        for name, prefix in prefixes.items()
    )


def _known(named: Sequence[Named]) -> dict[str, Variable]:
    """Full name -> variable. Unique, since no variable's name ends in `_` and another's (see the tests)."""
    known = dict(_UNPREFIXED)
    for site in named:
        known |= FOREIGN if site.alone else {site.prefix + name: var for name, var in OF_A_SITE.items()}
    return known


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
    said = {var.name: value(var, site, values) for var in _SITES_OWN}
    service, port = said["UPSTREAM"]
    domains, redirects = hosts(said["DOMAIN"], said["WWW"])
    return Site(
        name=site.name,
        domains=domains,
        service=service,
        port=port or said["VIRTUAL_PORT"],
        stack_file=said["STACK_FILE"],
        probe=_probe(said),
        session_timeout_s=said["SESSION_TIMEOUT_S"],
        session_idle_s=said["SESSION_IDLE_S"],
        strategy=(chosen := strategy(said["STRATEGY"], said["CANARY_STEPS"])),
        steps=said["CANARY_STEPS"] if chosen is Strategy.CANARY else (),
        step_s=said["CANARY_STEP_S"],
        canary_override=said["CANARY_OVERRIDE"],
        preview_token_file=said["PREVIEW_TOKEN_FILE"],
        old_assets=said["OLD_ASSETS"] or (),
        max_p95_ratio=said["MAX_P95_RATIO"],
        observe_s=said["OBSERVE_S"],
        max_5xx_share=said["MAX_5XX_SHARE"],
        drain_timeout_s=said["DRAIN_TIMEOUT_S"],
        websocket_timeout_s=said["WEBSOCKET_TIMEOUT_S"],
        keep_s=said["KEEP_S"],
        hook_timeout_s=said["HOOK_TIMEOUT_S"],
        redirects=redirects,
        path=said["PATH_PREFIX"],
        tls=serving.tls(said),
        proxying=serving.proxying(said),
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
