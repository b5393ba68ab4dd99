"""What is configured -> what nginx runs. One function, whatever the trigger; safe to be killed anywhere.

read -> render each site -> read back -> write the candidate -> `nginx -t` -> rename `live` -> reload ->
look until every worker runs it -> remember it as good. A kill leaves `live` at a whole, tested
generation; the next run finds what nginx runs by asking it, and goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.adapters import nginx_test
from gateway.adapters.beside import sets_resolver
from gateway.adapters.certificates import CertificateFiles, CertificateFolder
from gateway.adapters.configuration import ConfigurationFiles, Good, GoodFiles
from gateway.adapters.folder import Folder, merged, read_folder, stamps
from gateway.adapters.master import NginxMaster
from gateway.adapters.observed import make_log
from gateway.adapters.render import Place, Rendered, RenderError
from gateway.adapters.routing import RoutingFiles
from gateway.agent.candidate import Candidate, Certificates, SiteTexts, compose
from gateway.core.roster import Roster, Standing
from gateway.errors import Failed, SettingsInvalid
from gateway.settings import Settings
from gateway.settings.parsing import is_ours
from gateway.settings.sources import Claim, Desired, desire
from gateway.settings.table import AT_START, PATH_PREFIX

log = logging.getLogger("gateway")
# nginx names one mistake a run; after so many, all that is new goes at once.
ROUNDS = 30
# What failed for a reason outside of the folder (a port that was taken) is tried again after this.
RETRY_S = 300.0


class Unusable(Exception):
    """The candidate can't go live, and no single site is to blame."""


def read_desired(folder: Folder, environ: Mapping[str, str], holders: Mapping[Claim, str]) -> Desired:
    """Raises SettingsInvalid with every problem of the environment and .env."""
    problems = list(folder.problems)
    for name in AT_START:
        if name in folder.variables:
            problems.append(f".env: {name} is read at the start: set it in the environment")
    try:
        desired = desire(merged(folder.variables, environ), folder.files, holders=holders)
    except SettingsInvalid as error:
        raise SettingsInvalid([*problems, *error.problems]) from None
    if problems:
        raise SettingsInvalid(problems)
    return desired


def place_of(settings: Settings) -> Place:
    return Place(http_port=settings.http_port, edge=settings.edge, other_resolver=sets_resolver())


def composed(
    texts: SiteTexts,
    folder: Folder,
    environ: Mapping[str, str],
    good: Mapping[str, Good],
    *,
    scratch: str | None = None,
    certificates: CertificateFolder | None = None,
    waiting: Collection[str] = (),
) -> Candidate:
    """From what was read to a candidate that nginx has not seen yet. Raises SettingsInvalid.

    `certificates`: the look before. `scratch`: a folder for what nginx would find beside its
    configuration, where no gateway runs.
    """
    holders = {place: name for name, each in good.items() for place in _places(each.variables)}
    desired = read_desired(folder, environ, holders)
    look = CertificateFolder(desired.settings.certs_dir, now=time.time(), previous=certificates)
    place = place_of(desired.settings)
    if scratch:
        place = replace(
            place,
            conf_dir=f"{scratch}/conf",
            tls_dir=f"{scratch}/tls",
            observed_log=f"{scratch}/observed.log",
        )
    return compose(texts, place, folder, desired, good=good, certificates=Certificates(look), waiting=waiting)


def tested(
    candidate: Candidate, files: ConfigurationFiles, pairs: CertificateFiles, *, trusted: str | None
) -> Rendered:
    """The candidate as nginx takes it, written down; sites that it refuses are demoted.

    `trusted` was tested before. Raises Unusable when no site is to blame, RenderError.
    """
    for number in range(1, ROUNDS * 2):
        rendered = candidate.rendered()
        if rendered.generation == trusted:
            return rendered
        pairs.write(candidate.certificates.used)
        refusal = nginx_test.refusal(files.write(rendered))
        if refusal is None:
            return rendered
        blamed = candidate.blamed(refusal) if number < ROUNDS else candidate.changed()
        if not blamed:
            raise Unusable(refusal.said)
        for name in blamed:
            candidate.demote(name, f"nginx: {refusal.said}")
    raise Unusable("nginx refuses too much of it")


@dataclass(frozen=True, slots=True)
class Files:
    """Where things lie."""

    config_dir: Path
    certs_dir: Path
    configuration: ConfigurationFiles
    pairs: CertificateFiles
    good: GoodFiles
    routing: RoutingFiles


class Reconciler:
    """Thread-safe. `waiting` names the sites whose deployment has not ended."""

    def __init__(
        self,
        environ: Mapping[str, str],
        files: Files,
        *,
        nginx: NginxMaster | None = None,
        waiting: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._environ, self._files, self._waiting = dict(environ), files, waiting
        self._nginx = nginx or NginxMaster()
        self._texts, self._lock = SiteTexts(), threading.Lock()
        self._done_for: Any = None
        self._retry_at = 0.0
        self._certificates: CertificateFolder | None = None
        self._told: set[str] = set()  # of certificates
        self.roster = Roster()

    def prepare(self) -> Roster:
        """Before nginx runs. Raises SettingsInvalid; Failed when nginx would not start."""
        make_log()
        candidate = self._compose(self._read())
        try:
            rendered = tested(candidate, self._files.configuration, self._files.pairs, trusted=None)
        except (Unusable, RenderError) as error:
            raise Failed(f"nginx refuses the configuration: {error}") from error
        self._files.routing.restore(candidate.served())
        self._files.configuration.show(rendered.generation)
        self._forget_others(rendered)
        return self._remember(candidate)

    def reconcile(self) -> Roster:
        """Look, and do what is to be done. Problems are in the roster and in the log, never raised."""
        with self._lock:
            folder, waiting = self._read(), set(self._waiting())
            running = self._nginx.generation()
            seen = (folder, stamps(self._files.certs_dir), waiting)
            inputs = (*seen, running, self._files.configuration.live())
            if inputs == self._done_for and time.monotonic() < self._retry_at:
                return self.roster
            soon = False
            try:
                make_log()
                candidate = self._compose(folder, waiting)
                files, live = self._files, self._files.configuration.live()
                rendered = tested(candidate, files.configuration, files.pairs, trusted=live)
                for site in candidate.served():
                    self._files.routing.show_if_missing(site.name)
                self._apply(rendered, running)
                self._remember(candidate)
                soon = candidate.passing
            except (SettingsInvalid, Unusable, RenderError, Failed, OSError) as error:
                self._tell(replace(self.roster, problems=tuple(str(error).splitlines())))
            live = self._files.configuration.live()
            self._done_for = (*seen, self._nginx.generation(), live)
            self._retry_at = time.monotonic() + (0 if soon else RETRY_S)
            return self.roster

    def _read(self) -> Folder:
        return read_folder(self._files.config_dir)

    def _compose(self, folder: Folder, waiting: Collection[str] = ()) -> Candidate:
        candidate = composed(
            self._texts,
            *(folder, self._environ, self._files.good.all()),
            certificates=self._certificates,
            waiting=waiting,
        )
        self._certificates = candidate.certificates.folder
        return candidate

    def _apply(self, rendered: Rendered, running: str | None) -> None:
        """Make it live and see that nginx runs it; else put back what nginx ran. Raises Unusable."""
        files, generation = self._files.configuration, rendered.generation
        if running == generation == files.live():
            return
        files.show(generation)
        if running is None:  # nginx is about to start, and will read it then
            return
        if not self._nginx.reload(generation):
            if files.has(running):
                files.show(running)
                self._nginx.reload(running)
            raise Unusable(
                f"nginx did not take over generation {generation} (its log says why); {running} serves on"
            )
        log.info("configuration: nginx runs generation %s", generation)
        self._forget_others(rendered)

    def _forget_others(self, rendered: Rendered) -> None:
        self._files.configuration.forget_others(rendered.generation)
        self._files.pairs.forget_all_but(rendered.files.values())

    def _remember(self, candidate: Candidate) -> Roster:
        self._files.good.keep(candidate.good())
        for problem in sorted(candidate.certificates.problems - self._told):
            log.warning("%s", problem)
        self._told = candidate.certificates.problems
        self._tell(candidate.roster())
        return self.roster

    def forget(self, site: str) -> None:
        """A dropped site whose containers are gone: nothing of it need be known any more."""
        with self._lock:
            self._files.good.forget(site)
            entries = {name: entry for name, entry in self.roster.entries.items() if name != site}
            self.roster = replace(self.roster, entries=entries)

    def _tell(self, roster: Roster) -> None:
        """Log what is new."""
        for problem in roster.problems:
            if problem not in self.roster.problems:
                log.error("configuration: %s", problem)
        for name, entry in roster.entries.items():
            if entry != self.roster.entries.get(name) and entry.standing is not Standing.CURRENT:
                log.warning("configuration: %s is %s: %s", name, entry.standing, "; ".join(entry.reasons))
        self.roster = roster


def _places(variables: Mapping[str, str]) -> list[Claim]:
    path = variables.get(PATH_PREFIX.name, "")
    path_of = PATH_PREFIX.rule.read(path) if PATH_PREFIX.rule.accepts(path) else None
    return [(domain.strip().lower(), path_of) for domain in variables.get("DOMAIN", "").split(",")]


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What of it may be the gateway's."""
    return {name: raw for name, raw in environ.items() if is_ours(name)}
