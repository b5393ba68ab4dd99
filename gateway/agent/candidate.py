"""What nginx is to run, put together site by site; a site with a mistake goes down a ladder of its own.

As configured, else what was good last, else 503 for its domains, else nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass

from gateway.adapters.configuration import Good
from gateway.adapters.folder import Pages, Snippet
from gateway.adapters.nginx_test import Refusal
from gateway.adapters.own_text import files_of
from gateway.adapters.render import Rendered, Renderer
from gateway.agent.texts import Certificates, Mistake, SiteTexts
from gateway.core.model import Site
from gateway.core.roster import Entry, Roster, Standing
from gateway.core.servers import Shared, shared
from gateway.errors import SettingsInvalid
from gateway.settings.parsing import Wanted, parse_site
from gateway.settings.places import Owners, Refused
from gateway.settings.sources import Desired


@dataclass(frozen=True, slots=True)
class Part:
    """A site's share. `text` None: none of it goes to nginx. `good`: to be remembered once nginx runs it.

    `at`: whose text it is, as far as it names its domains.
    """

    entry: Entry
    text: str | None = None
    good: Good | None = None
    at: Site | None = None


class Candidate:
    """A generation in the making; `demote` takes a site one rung down."""

    def __init__(
        self,
        texts: SiteTexts,
        renderer: Renderer,
        desired: Desired,
        good: Mapping[str, Good],
        certificates: Certificates,
        pages: Pages,
    ) -> None:
        self._pages = pages
        self._texts, self._renderer, self._desired, self._good = texts, renderer, desired, good
        self.certificates = certificates
        self._owners: Owners | None = None  # until somebody's last good is asked for
        self._parts: dict[str, Part] = {}
        self.problems: tuple[str, ...] = ()  # of no site; they keep nothing from going live

    def add(self, wanted: Wanted, snippet: Snippet) -> None:
        """As configured, or a step down when it has a mistake."""
        name = wanted.site.name
        # With all that its text depends on.
        key = (wanted, snippet, self.certificates.usable(wanted.site), self._pages.of(name) is not None)
        try:
            self._parts[name] = self._texts.once(name, key, lambda: self._current(wanted, snippet))
        except Mistake as mistake:
            self.demote(name, *mistake.reasons)

    def _current(self, wanted: Wanted, snippet: Snippet) -> Part:
        site = wanted.site
        said = self._texts.snippet(site, snippet)
        text = self._text(site, said)
        entry = Entry(site.name, Standing.CURRENT, site, site.addresses)
        return Part(entry, text, Good(wanted.variables, said, text), site)

    def _text(self, site: Site, snippet: str) -> str:
        own_page = self._pages.of(site.name) is not None
        return self._texts.text(site, self.certificates.of(site), snippet, own_page=own_page)

    def hold(self, name: str) -> None:
        """Leave the site as it was until its deployment has ended, whatever it is to be."""
        before = self._last_good(name, Standing.WAITING, ("its deployment has not ended yet",))
        if before and self._parts[name].text != before.text:
            self._parts[name] = before

    def drop(self, name: str) -> None:
        part = self._last_good(name, Standing.DROPPED, ("it is configured no more",))
        site = part.entry.site if part else None
        self._parts[name] = Part(Entry(name, Standing.DROPPED, site, (), ("it is configured no more",)))

    def demote(self, name: str, *reasons: str) -> None:
        before = self._parts.get(name)
        standing = before.entry.standing if before else Standing.CURRENT
        reasons = (*(before.entry.reasons if before else ()), *reasons)
        if standing is Standing.CURRENT:
            good = self._last_good(name, Standing.LAST_GOOD, reasons)
            if good and not (before and good.text == before.text):
                self._parts[name] = good
                return
        if standing is Standing.UNAVAILABLE:
            self._parts[name] = Part(Entry(name, Standing.LEFT_OUT, None, (), reasons))
        else:
            self._parts[name] = self._unavailable(name, reasons)

    def without(self, names: Collection[str]) -> Candidate:
        """The same one with these a rung down; this one stays as it is."""
        other = copy(self)
        other._parts, other._owners = dict(self._parts), deepcopy(self._owners)
        for name in names:
            other.demote(name)
        return other

    def blamed(self, refusal: Refusal) -> list[str]:
        """Whose part nginx refused: the file that it names, else who uses a name that it quotes, else
        all that is new. Empty: no site's."""
        there = {name: part.text for name, part in self._parts.items() if part.text is not None}
        if refusal.file:
            return [name for name in there if refusal.file in files_of(name)]
        using = [
            [n for n, text in there.items() if q in text] for q in re.findall(r'"([^"]+)"', refusal.said)
        ]
        if any(len(names) == len(there) > 1 for names in using):
            return []  # what all have in common is nobody's
        return min(filter(None, using), key=len, default=self.changed())

    def changed(self) -> list[str]:
        """The sites that nginx has not run in this form yet."""
        return [n for n, p in self._parts.items() if p.good is not None and self._good.get(n) != p.good]

    def rendered(self) -> Rendered:
        """Raises RenderError when a template of what all share has a mistake."""
        own = {n: (part.text, part.entry.site) for n, part in self._parts.items() if part.text is not None}
        found = {n: self._pages.of(n) for n, (_, site) in own.items() if site} if self._pages.texts else {}
        pages = {name: page for name, page in found.items() if page is not None}
        return self._renderer.assemble(own, self.together(), pages)

    @property
    def passing(self) -> bool:
        """A site holds on to a place until nginx runs it elsewhere."""
        return self._desired.passing

    def served(self) -> list[Site]:
        """The sites whose routing nginx looks at."""
        return [p.entry.site for p in self._parts.values() if p.entry.site and p.text is not None]

    def good(self) -> dict[str, Good]:
        return {name: part.good for name, part in self._parts.items() if part.good is not None}

    def roster(self) -> Roster:
        return Roster({name: part.entry for name, part in sorted(self._parts.items())}, self.problems)

    def _last_good(self, name: str, standing: Standing, reasons: tuple[str, ...]) -> Part | None:
        """None when there is none, or when others have its domains now."""
        good = self._good.get(name)
        if good is None:
            return None
        try:
            site = parse_site(name, good.variables, {}).site
        except SettingsInvalid:
            return None
        owners = self._owned()
        if any(owners.claim(host, site.path, name) is not None for host in site.hosts):
            return None
        try:  # with the certificates and templates of today, where that is possible
            text = self._text(site, good.snippet)
        except Mistake:
            text = good.text
        return Part(Entry(name, standing, site, site.addresses, reasons), text, at=site)

    def _owned(self) -> Owners:
        if self._owners is None:
            self._owners = Owners()
            self._owners.claim_all(wanted.site for wanted in self._desired.wanted.values())
        return self._owners

    def _unavailable(self, name: str, reasons: tuple[str, ...]) -> Part:
        if name in self._desired.wanted:
            site = self._desired.wanted[name].site
            domains, path = site.domains, site.path
        else:
            refused = self._desired.refused.get(name, Refused(()))
            domains, path = refused.domains, refused.path
        if not domains:
            return Part(Entry(name, Standing.LEFT_OUT, None, (), reasons))
        bare = Site(name, domains, service="", port=0, stack_file="", path=path)
        entry = Entry(name, Standing.UNAVAILABLE, None, bare.addresses, reasons)
        return Part(entry, self._renderer.unavailable(bare, self.certificates.of(bare)), at=bare)

    def at(self, name: str) -> Site | None:
        """Whose text the site's is, as far as it names its domains."""
        return self._parts[name].at

    def together(self) -> tuple[Shared, ...]:
        """The servers of sites with a path; what belongs to a domain, those say that have their own way."""
        located = [
            p.at for p in self._parts.values() if p.text is not None and p.at and p.at.path is not None
        ]
        located.sort(key=lambda site: (not site.service, len(site.path or ""), site.name))
        return shared((site, self.certificates.of(site)) for site in located)
