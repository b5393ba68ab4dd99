"""From variables to Settings. Every problem is found before any is raised."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.model import ProbePolicy, Site
from gateway.errors import SettingsInvalid
from gateway.settings import rules, table
from gateway.settings.table import PREFIX, VARIABLES, Scope, Variable

_SHOWN = 80  # characters of a refused value in a problem


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway runs with. `network` None: the controller finds it."""

    sites: tuple[Site, ...]
    http_port: int = table.HTTP_PORT
    network: str | None = None
    state_dir: str = table.STATE_DIR


@dataclass(frozen=True, slots=True)
class _Named:
    """A site before its values are read: where they are looked up, and its default stack file's stem."""

    name: str
    prefix: str
    stem: str


def parse(env: Mapping[str, str]) -> Settings:
    """Read the GATEWAY_* variables; an empty one counts as unset.

    Raises errors.SettingsInvalid with one line a problem: variable, value, rule.
    """
    given = {name: raw for name, raw in sorted(env.items()) if name.startswith(PREFIX)}
    named = _named(given)
    known = _known(named)
    values, problems = _read(given, known)
    problems += _unknown(given, known)
    problems += _missing(given, named)
    problems += _shared_domains(values, named)
    if problems:
        raise SettingsInvalid(problems)
    return Settings(
        sites=tuple(_site(site, values) for site in named),
        http_port=values.get("GATEWAY_HTTP_PORT", table.HTTP_PORT),
        network=values.get("GATEWAY_NETWORK"),
        state_dir=values.get("GATEWAY_STATE_DIR", table.STATE_DIR),
    )


def _named(given: Mapping[str, str]) -> tuple[_Named, ...]:
    """The sites that are set. Bad names are left out here: `_read` reports them."""
    several = given.get("GATEWAY_SITES")
    if not several:
        name = given.get("GATEWAY_SITE") or str(table.SITE.default)
        return (_Named(name, PREFIX, "stack"),)
    names = dict.fromkeys(name for name in rules.split(several) if rules.SITE.accepts(name))
    return tuple(_Named(name, f"{PREFIX}{name.upper().replace('-', '_')}_", name) for name in names)


def _known(named: Sequence[_Named]) -> dict[str, Variable]:
    """Full name -> variable. Unique, since no variable's name ends in `_` and another's (see the tests)."""
    prefixed = {
        site.prefix + var.name: var for site in named for var in VARIABLES if var.scope is not Scope.GATEWAY
    }
    return {PREFIX + var.name: var for var in VARIABLES} | prefixed


def _read(given: Mapping[str, str], known: Mapping[str, Variable]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in filter(given.get, given.keys() & known.keys()):
        try:
            values[name] = known[name].rule.read(given[name])
        except ValueError:
            problems.append(_problem(name, given[name], f"must be {known[name].rule.text}"))
    problems.extend(_misplaced(given))
    return values, sorted(problems)


def _misplaced(given: Mapping[str, str]) -> Iterator[str]:
    """With GATEWAY_SITES, what belongs to one site has no un-prefixed form."""
    if not given.get("GATEWAY_SITES"):
        return
    for var in VARIABLES:
        raw = given.get(PREFIX + var.name)
        if raw and var is table.SITE:
            yield _problem(PREFIX + var.name, raw, "must be unset when GATEWAY_SITES is set")
        elif raw and var.scope is Scope.OWN:
            rule = f"must be unset when GATEWAY_SITES is set; set GATEWAY_<SITE>_{var.name} for each site"
            yield _problem(PREFIX + var.name, raw, rule)


def _unknown(given: Mapping[str, str], known: Mapping[str, Variable]) -> Iterator[str]:
    sites_refused = bool(given.get("GATEWAY_SITES")) and not rules.SITES.accepts(given["GATEWAY_SITES"])
    for name in sorted(given.keys() - known.keys()):
        of_a_site = _belongs_to_some_site(name)
        if sites_refused and of_a_site:
            continue  # it may be the refused site's, which has its own problem
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
        hint = " (or is its site missing in GATEWAY_SITES?)" if of_a_site else ""
        yield _problem(name, given[name], f"is not a known variable; the nearest is {nearest}{hint}")


def _belongs_to_some_site(name: str) -> bool:
    return any(name.endswith("_" + var.name) for var in VARIABLES if var.scope is not Scope.GATEWAY)


def _missing(given: Mapping[str, str], named: Sequence[_Named]) -> Iterator[str]:
    required = [var for var in VARIABLES if var.required]
    alone = not given.get("GATEWAY_SITES")
    if alone and not any(given.get(PREFIX + var.name) for var in required):
        both = " and ".join(f"{PREFIX}{var.name}={var.example.split(',')[0]}" for var in required)
        yield f"no site is set: set {both} (or GATEWAY_SITES for several sites)"
        return
    for site in named:
        for var in required:
            name = site.prefix + var.name
            if not given.get(name):
                state = "empty" if name in given else "not set"
                cause = "" if alone else f", but GATEWAY_SITES names {site.name}"
                yield f"{name} is {state}{cause}: must be {var.rule.text}"


def _shared_domains(values: Mapping[str, Any], named: Sequence[_Named]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for site in named:
        name = site.prefix + table.DOMAIN.name
        for domain in values.get(name, ()):
            owner = owners.setdefault(domain, name)
            if owner != name:
                yield _problem(name, domain, f"must be in one site only, and {owner} has it")


def _problem(name: str, raw: str, rule: str) -> str:
    """One line, whatever the environment holds: repr escapes line breaks and control characters."""
    return f"{name if name.isprintable() else repr(name)}={_shortened(repr(raw))} {rule}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _site(site: _Named, values: Mapping[str, Any]) -> Site:
    own = {var.name: _value(var, site, values) for var in VARIABLES if var.scope is not Scope.GATEWAY}
    service, port = own["UPSTREAM"]
    status_min, status_max = own["PROBE_STATUS"]
    return Site(
        name=site.name,
        domains=own["DOMAIN"],
        service=service,
        port=port,
        stack_file=own["STACK_FILE"],
        probe=ProbePolicy(
            path=own["PROBE_PATH"],
            status_min=status_min,
            status_max=status_max,
            body=own["PROBE_BODY"],
            interval_s=own["PROBE_INTERVAL_S"],
            timeout_s=own["PROBE_TIMEOUT_S"],
            successes=own["PROBE_SUCCESSES"],
            start_deadline_s=own["START_DEADLINE_S"],
        ),
        observe_s=own["OBSERVE_S"],
        max_5xx_share=own["MAX_5XX_SHARE"],
        drain_timeout_s=own["DRAIN_TIMEOUT_S"],
        keep_s=own["KEEP_S"],
    )


def _value(var: Variable, site: _Named, values: Mapping[str, Any]) -> Any:
    """The site's own value, else the one for all sites, else the default."""
    for name in (site.prefix + var.name, PREFIX + var.name):
        if name in values:
            return values[name]
    return None if var.default is None else var.rule.read(var.default.replace("<site>", site.stem))
