"""One site's variables: their full names, and which value counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.core.model import Strategy
from gateway.settings.table import FOREIGN, PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable

# Of each variable ours first: of two names the first that is set counts.
OF_A_SITE = {name: var for var in VARIABLES if var.scope is not Scope.GATEWAY for name in var.names}
FOR_ALL = {PREFIX + name: var for var in VARIABLES if var.scope is Scope.SHARED for name in var.names}
_BY_SITE = {var for var in VARIABLES if "<site>" in (var.default or "")}
_READ = {var: var.rule.read(var.default) for var in VARIABLES if var.default and var not in _BY_SITE}


@dataclass(frozen=True, slots=True)
class Named:
    """A site before its values are read, and its default stack file's stem.

    `own`, `shared`: the full names under which its own variables are given, and those for all sites.
    """

    name: str
    prefix: str
    stem: str
    alone: bool
    own: Mapping[Variable, str]
    shared: Mapping[Variable, str]

    def counting(self, var: Variable) -> str | None:
        """The name of the value that counts: the site's own, else that for all. None: the default counts."""
        return self.own.get(var) or self.shared.get(var)

    def said_by(self, var: Variable) -> str:
        """The same; its usual name where the default counts."""
        return self.counting(var) or self.prefix + var.name


def own(prefix: str, given: Mapping[str, str], *, alone: bool = False) -> dict[Variable, str]:
    """Variable -> the full name that counts, of a site's own. `alone`: nginx-proxy's need no prefix."""
    found: dict[Variable, str] = {}
    for tail, var in OF_A_SITE.items():
        if given.get(name := prefix + tail):
            found.setdefault(var, name)
    for name, var in FOREIGN.items() if alone else ():
        if given.get(name):
            found.setdefault(var, name)
    return found


def shared(given: Mapping[str, str]) -> dict[Variable, str]:
    """Variable -> the full name that counts of those for all sites."""
    found: dict[Variable, str] = {}
    for name, var in FOR_ALL.items():
        if given.get(name):
            found.setdefault(var, name)
    return found


def value(var: Variable, site: Named, values: Mapping[str, Any]) -> Any:
    """The site's own value, else the one for all sites, else the default. A refused one counts as unset."""
    name = site.counting(var)
    return values[name] if name and name in values else _default(var, site.stem)


def once(var: Variable, values: Mapping[str, Any]) -> Any:
    """The value of one that no site has of its own."""
    return values.get(PREFIX + var.name, _READ.get(var))


def _default(var: Variable, stem: str) -> Any:
    return var.rule.read(str(var.default).replace("<site>", stem)) if var in _BY_SITE else _READ.get(var)


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
