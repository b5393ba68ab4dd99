"""The sites that the control plane knows, in one place that is replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable

from gateway import errors
from gateway.core.model import Site
from gateway.core.roster import Entry, Roster, Standing


class Directory:
    """`look` gives the roster as it is now. Raises UsageError with what to do instead."""

    def __init__(self, look: Callable[[], Roster], forget: Callable[[str], None]) -> None:
        self._look, self._forget = look, forget

    @property
    def roster(self) -> Roster:
        return self._look()

    def entry(self, name: str) -> Entry:
        entries = self._look().entries
        try:
            return entries[name]
        except KeyError:
            known = ", ".join(name for name, e in entries.items() if e.standing is not Standing.DROPPED)
            raise errors.UsageError(f"no site {name!r}; this gateway serves: {known or 'none'}") from None

    def site(self, name: str) -> Site:
        """One that can be deployed."""
        entry = self.entry(name)
        if entry.standing is Standing.DROPPED:
            raise errors.UsageError(
                f"{name} is configured no more; `gateway cleanup {name}` stops what is left of it"
            )
        if entry.site is None:
            raise errors.UsageError("\n".join(f"{name} is {entry.standing}: {r}" for r in entry.reasons))
        return entry.site

    def serves(self, name: str) -> bool:
        return self.entry(name).standing is not Standing.DROPPED

    def sites(self) -> list[Site]:
        """All that have one, dropped ones too."""
        return [entry.site for entry in self._look().entries.values() if entry.site]

    def forget(self, name: str) -> None:
        """A dropped site, once nothing is left of it."""
        self._forget(name)
