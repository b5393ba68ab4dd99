"""What is refused is told: a line for each value, by the name under which it was given, and no other line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from gateway.settings import rules
from gateway.settings.parsing import shared_by_all
from gateway.settings.table import FOREIGN, PREFIX, VARIABLES
from gateway.settings.variable import Scope, Variable
from tests.fuzz.cases import Case
from tests.fuzz.escape import Escape

_ALL = {PREFIX + name: var for var in VARIABLES for name in var.names}
_OF_A_SITE = {name: var for var in VARIABLES if var.scope is not Scope.GATEWAY for name in var.names}
_RULES = ("must be ", "must not be ", "is not a known variable; the nearest is ")
# Behind the name of a variable of a file, what another site has to do with it.
_OF_ANOTHER = re.compile(
    r"'.+' is the domain of \S+|'.+' is [a-z0-9-]+'s(?:, which has no PATH_PREFIX yet)?"
    r"|must be '.*' as for \S+: they share a domain"
)
# A variable that is the reason for another's refusal is one that was given too.
_BECAUSE = re.compile(
    r"must be unset when (\S+) (?:is set|names a port)|must not be what (\S+) is: both have "
    r"|must be in one site only, and (\S+) has it"
)
_LACKS = re.compile(
    r"(\S+) is (?:not set|empty)(?:, but GATEWAY_SITES names \S+)?: must be "
    r"|(\S+): must be '.*' as for \S+: they share a domain$"
)


def of_environment(problems: Iterable[str], case: Case) -> None:
    """Raises Escape. `problems` empty: all of it was accepted."""
    ours = {name: raw for name, raw in case.env.items() if name.startswith(PREFIX) or name in FOREIGN}
    sites = rules.split(case.env.get("GATEWAY_SITES", ""))
    prefixes = [f"{PREFIX}{site.upper().replace('-', '_')}_" for site in sites if rules.SITE.accepts(site)]
    known = _ALL | {prefix + name: var for prefix in prefixes for name, var in _OF_A_SITE.items()}
    if not case.env.get("GATEWAY_SITES") and case.files is None:
        known |= FOREIGN
    surely = rules.SITES.accepts(case.env["GATEWAY_SITES"]) if case.env.get("GATEWAY_SITES") else True
    _told(tuple(problems), ours, known, surely=surely)


def of_file(reasons: Iterable[str], values: Mapping[str, str], env: Mapping[str, str]) -> None:
    """Raises Escape. `reasons` empty: all of the file was accepted. `env`: what holds for all sites."""
    _told(tuple(reasons), values, _OF_A_SITE, surely=True, shared=shared_by_all(env))


def _told(
    lines: tuple[str, ...],
    given: Mapping[str, str],
    known: Mapping[str, Variable],
    *,
    surely: bool,
    shared: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """`surely`: what is not known can't be a variable of a site whose name was refused."""
    named = {**shared, **given}
    for line in lines:
        if not line.isprintable():
            raise Escape(f"not one line: {line!r}")
        if not any(_about(line, name, named) for name in named) and not _lacking(line, given):
            raise Escape(f"names no variable that was given: {line!r}")
    for name, raw in given.items():
        var = known.get(name)
        refused = bool(raw) and not var.rule.accepts(raw) if var else surely and name.startswith(PREFIX)
        if refused and not any(line.startswith(f"{_shown_name(name)}={_shown(raw)} ") for line in lines):
            raise Escape(f"{name}={raw!r} is wrong, and has no line of its own")


def _about(line: str, name: str, given: Mapping[str, str]) -> bool:
    start = _shown_name(name)
    if line.startswith(f"{start}: "):
        return bool(given[name] and _OF_ANOTHER.fullmatch(line.removeprefix(f"{start}: ")))
    if not line.startswith(f"{start}="):
        return False
    said = line.removeprefix(f"{start}=")
    whole = next((one for one in _values(given[name]) if said.startswith(f"{one} ")), None)
    rule = said.removeprefix(f"{whole} ")
    why = _BECAUSE.match(rule)
    is_whole = whole == _shown(given[name]) or rule.startswith("must be in one site only, ")
    return (
        is_whole
        and rule.startswith(_RULES)
        and (not why or bool(given.get(next(filter(None, why.groups())))))
    )


def _values(raw: str) -> Iterator[str]:
    """The value, and one of the domains in it, or what leads to that."""
    yield _shown(raw)
    for one in rules.split(raw.lower()):
        bare = one.removeprefix("www.")
        yield from map(_shown, (bare, f"www.{bare}"))


def _lacking(line: str, given: Mapping[str, str]) -> bool:
    if line.startswith("no site is set: set GATEWAY_DOMAIN="):
        return not given.get("GATEWAY_SITES")
    found = _LACKS.match(line)
    return bool(found and not given.get(found[1] or found[2]))


def _shown_name(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _shown(raw: str) -> str:
    return repr(raw) if len(repr(raw)) <= 80 else repr(raw)[:77] + "..."
