"""One site's variables: their full names, and which value counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gateway.core.model import Strategy
from gateway.settings.table import PREFIX, VARIABLES
from gateway.settings.variable import Variable


@dataclass(frozen=True, slots=True)
class Named:
    """A site before its values are read: where they are looked up, and its default stack file's stem."""

    name: str
    prefix: str
    stem: str
    alone: bool

    def names(self, var: Variable) -> tuple[str, ...]:
        """The full names of the site's own variable; the first that is set counts."""
        return _names(self.prefix, alone=self.alone)[var.name]


@lru_cache(maxsize=64)  # asked for a hundred times a site
def _names(prefix: str, *, alone: bool) -> Mapping[str, tuple[str, ...]]:
    foreign = {var.name: (var.foreign,) for var in VARIABLES if alone and var.foreign}
    return {
        var.name: (*(prefix + name for name in var.names), *foreign.get(var.name, ())) for var in VARIABLES
    }


def value(var: Variable, site: Named, values: Mapping[str, Any]) -> Any:
    """The site's own value, else the one for all sites, else the default."""
    return first([*site.names(var), PREFIX + var.name], var, values, stem=site.stem)


def said_by(var: Variable, site: Named, values: Mapping[str, Any]) -> str:
    """The name under which the site's value was given; its usual one when none was."""
    names = [*site.names(var), PREFIX + var.name]
    return next((name for name in names if name in values), names[0])


def first(names: Sequence[str], var: Variable, values: Mapping[str, Any], *, stem: str = "") -> Any:
    for name in names:
        if name in values:
            return values[name]
    return None if var.default is None else var.rule.read(var.default.replace("<site>", stem))


def strategy(said: str | None, steps: Sequence[int] | None) -> Strategy:
    """Steps alone make a canary of it."""
    return Strategy(said or (Strategy.CANARY if steps else Strategy.BLUE_GREEN))


def hosts(domains: Sequence[str], www: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The host names that a site serves, and those that lead to one of them."""
    if www == "as-is":
        return tuple(domains), ()
    served: dict[str, None] = {}
    redirects: dict[str, str] = {}
    for domain in domains:
        if domain.startswith("*."):
            served[domain] = None
            continue
        bare = domain.removeprefix("www.")
        name, other = (f"www.{bare}", bare) if www == "add" else (bare, f"www.{bare}")
        served[name] = None
        redirects[other] = name
    return tuple(served), tuple(redirects.items())
