"""What a variable is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gateway.settings.rules import Rule


class Scope(Enum):
    GATEWAY = "once"
    OWN = "each site its own"
    SHARED = "each site its own, else the un-prefixed one"


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """There is one of each: equal is only the same.

    `name` without its prefix. `default` is written as the operator would; None: there is none.

    `foreign`: its name in nginx-proxy's settings. It is read instead of ours, and for a single site without
    our prefix too.
    """

    name: str
    rule: Rule
    default: str | None
    meaning: str
    example: str
    scope: Scope = Scope.SHARED
    required: bool = False
    foreign: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Ours, then nginx-proxy's where that is another."""
        return (self.name,) if self.foreign in (None, self.name) else (self.name, str(self.foreign))
