"""What holds for every configuration: refused by the name of a variable, or served as it says.

The product's own parser (core.parseback) is one judge. The others share nothing with it: `told` of what is
refused, `written` of what is read, `twin` of what is rendered, `snippets` of what stands in a server.
"""

from __future__ import annotations

from functools import lru_cache

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.folder import Folder
from gateway.adapters.render import Place, RenderError
from gateway.agent.candidate import Candidate
from gateway.agent.composing import compose, place_of
from gateway.agent.texts import Certificates, SiteTexts
from gateway.core.model import Site
from gateway.core.roster import Standing
from gateway.core.serving import Certificate, DomainCertificate
from gateway.errors import SettingsInvalid
from gateway.settings.sources import Desired, desire
from tests.fuzz import snippets, told, twin, written
from tests.fuzz.cases import Case
from tests.fuzz.escape import Escape


class _Held(CertificateFolder):
    """Certificates for the first so many names of a site."""

    def __init__(self, case: Case) -> None:
        super().__init__("/nowhere", now=0)
        self._case = case
        self._pair = Certificate("chain", "key", expires_at=0, expired=case.expired)

    def of(self, site: Site) -> tuple[DomainCertificate, ...]:
        return tuple(DomainCertificate(name, self._pair) for name in self.pairs(site))

    def pairs(self, site: Site) -> dict[str, Certificate]:
        held = (*site.domains, *(name for name, _ in site.redirects))[: self._case.certified]
        return dict.fromkeys(held, self._pair)


def accepted(case: Case) -> bool:
    """Whether all of it goes live. Raises Escape."""
    try:
        desired = desire(case.env, case.files)
    except SettingsInvalid as error:
        told.of_environment(error.problems, case)
        return False
    told.of_environment((), case)
    for file in case.files or ():
        refused = desired.refused.get(file.name)
        told.of_file(refused.reasons if refused else (), file.values, case.env)
    written.harmless(desired.settings)
    written.as_written(case, desired)
    place = place_of(desired.settings)
    held = _Held(case)
    try:
        candidate = _composed(case, desired, place, held)
        located = {name: candidate.at(name) for name in candidate.roster().entries}
        pairs = {name: held.pairs(site) for name, site in located.items() if site}
        twin.same(candidate, place, pairs)
    except RenderError as error:
        raise Escape(f"can't be rendered: {error}") from error
    snippets.balanced(candidate)
    snippets.inside(candidate, place, pairs)
    return _all_current(case, desired, candidate)


def _composed(case: Case, desired: Desired, place: Place, held: _Held) -> Candidate:
    folder = Folder(snippets=case.snippets)
    return compose(_texts(place), place, folder, desired, good={}, certificates=Certificates(held))


def _all_current(case: Case, desired: Desired, candidate: Candidate) -> bool:
    """What was wanted goes live, unless its own snippet is in the way."""
    entries = candidate.roster().entries
    for name in desired.wanted:
        entry = entries[name]
        kinds = (f"snippets/{name}.conf", "what was rendered can't be read back")
        mine = name in case.snippets and all(reason.startswith(kinds) for reason in entry.reasons)
        if entry.standing is not Standing.CURRENT and not mine:
            raise Escape(f"{name} was accepted, and what was rendered is not the site: {entry.reasons}")
    return all(entry.standing is Standing.CURRENT for entry in entries.values())


@lru_cache(maxsize=64)
def _texts(place: Place) -> SiteTexts:
    return SiteTexts()
