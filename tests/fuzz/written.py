"""What was read: the model holds nothing that means more than itself, and all that was written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any

from gateway.core.model import Site
from gateway.settings.parsing import Settings, Wanted, parse_site
from gateway.settings.sources import Desired
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz.cases import Case
from tests.fuzz.escape import Escape

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SPECIAL = re.compile(r"""[;{}$"'\\\s]""")
_OF_A_SITE = [var for var in VARIABLES if var.scope is not Scope.GATEWAY]


def harmless(settings: Settings) -> None:
    """Also of what never comes to nginx: paths, names of Docker, what is asked of the application."""
    bodies = {site.probe.body for site in settings.sites}
    for text in _strings(settings):
        if CONTROL.search(text) or (text not in bodies and SPECIAL.search(text)):
            raise Escape(f"{text!r} is a setting")


def as_written(case: Case, desired: Desired) -> None:
    """The model says what the variables say, and what is kept of a site makes the same site again."""
    for name, wanted in desired.wanted.items():
        site, said = wanted.site, wanted.variables
        domains = {one.strip().lower().removeprefix("www.") for one in said["DOMAIN"].split(",")}
        if {host.removeprefix("www.") for host in site.hosts} != domains:
            raise Escape(f"{name} has the hosts {site.hosts} for {said['DOMAIN']!r}")
        port = said["UPSTREAM"].partition(":")[2] or said.get("VIRTUAL_PORT")
        if (site.service, str(site.port)) != (said["UPSTREAM"].partition(":")[0], port):
            raise Escape(f"{name} leads to {site.service}:{site.port} for {said['UPSTREAM']!r}")
        if _again(name, tuple(said.items())) != site:
            raise Escape(f"{name} would be another site after a restart")
        _given(case, wanted)


@lru_cache(maxsize=1024)
def _again(name: str, said: tuple[tuple[str, str], ...]) -> Site:
    return parse_site(name, dict(said), {}).site


def _given(case: Case, wanted: Wanted) -> None:
    """Each value is the site's own, else the one for all sites, else the default."""
    name, said = wanted.site.name, wanted.variables
    own = next((file.values for file in case.files or () if file.name == name), case.env)
    prefix, alone = "", False
    if own is case.env:
        alone = not case.env.get("GATEWAY_SITES")
        prefix = PREFIX if alone else f"{PREFIX}{name.upper().replace('-', '_')}_"
    for var in _OF_A_SITE:
        raw = next(filter(None, _values(var, own, case.env, prefix, alone=alone)), None)
        if raw is None and var.default is not None:
            raw = var.default.replace("<site>", "stack" if alone else name)
        if said.get(var.name) != raw:
            raise Escape(f"{name} has {var.name}={said.get(var.name)!r}, and {raw!r} was given")


def _values(
    var: Variable, own: Mapping[str, str], env: Mapping[str, str], prefix: str, *, alone: bool
) -> Iterator[str | None]:
    for name in var.names:
        yield own.get(prefix + name)
    if alone and var.foreign:
        yield env.get(var.foreign)
    if var.scope is Scope.SHARED:
        for name in var.names:
            yield env.get(PREFIX + name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _strings(each)
    elif is_dataclass(value):
        for each in fields(value):
            yield from _strings(getattr(value, each.name))
    elif value is not None and type(value) not in (int, float, bool):
        raise Escape(f"{value!r} is neither text nor a number")
