"""Which sites there are, and how each stands to what its owner wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.core.model import Site


class Standing(StrEnum):
    """What nginx runs for a site."""

    CURRENT = "current"  # what is configured
    WAITING = "waiting"  # what was configured before its deployment began; the new settings come after it
    LAST_GOOD = "last_good"  # what was configured last without a mistake
    UNAVAILABLE = "unavailable"  # 503: there never was anything without a mistake
    LEFT_OUT = "left_out"  # nothing: not even its domains are without a mistake
    DROPPED = "dropped"  # nothing: it is configured no more; its containers may still be there


@dataclass(frozen=True, slots=True)
class Entry:
    """`site` None: it can't be deployed. `reasons` say why it isn't as configured."""

    name: str
    standing: Standing
    site: Site | None
    domains: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    @property
    def is_quarantined(self) -> bool:
        return self.standing in (Standing.LAST_GOOD, Standing.UNAVAILABLE, Standing.LEFT_OUT)


@dataclass(frozen=True, slots=True)
class Roster:
    """All of them, as one value. `problems` are those of no single site."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def site(self, name: str) -> Site | None:
        """None: there is none that can be deployed."""
        entry = self.entries.get(name)
        return entry.site if entry else None
