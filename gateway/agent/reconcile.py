"""What is configured -> what nginx runs. One function, whatever the trigger; safe to be killed anywhere.

read -> render each site -> read back -> write the candidate -> `nginx -t` -> rename `live` -> reload ->
look until every worker runs it -> remember it as good. A kill leaves `live` at a whole, tested
generation; the next run finds what nginx runs by asking it, and goes on from there.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.adapters.certificates import CertificateFiles, CertificateFolder
from gateway.adapters.configuration import ConfigurationFiles, GoodFiles
from gateway.adapters.folder import Folder, SiteFiles, read_folder, stamps
from gateway.adapters.master import CONFIRM_TIMEOUT_S, NginxMaster
from gateway.adapters.observed import make_log
from gateway.adapters.render import Rendered, RenderError
from gateway.adapters.routing import RoutingFiles
from gateway.agent.candidate import Candidate
from gateway.agent.composing import composed
from gateway.agent.texts import SiteTexts
from gateway.agent.trial import Unusable, tested
from gateway.core.roster import Roster, Standing
from gateway.errors import Failed, SettingsInvalid
from gateway.settings.parsing import is_ours

log = logging.getLogger("gateway")
# What failed for a reason outside of the folder (a port that was taken) is tried again after this.
RETRY_S = 300.0


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
        self._read_before = SiteFiles()
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
        with self._lock, garbage_left():
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
                began = time.monotonic()
                rendered = tested(candidate, files.configuration, files.pairs, trusted=live)
                patience_s = CONFIRM_TIMEOUT_S + 5 * (time.monotonic() - began)
                files.routing.show_missing(site.name for site in candidate.served())
                self._apply(rendered, running, patience_s)
                self._remember(candidate)
                soon = candidate.passing
            except (SettingsInvalid, Unusable, RenderError, Failed, OSError) as error:
                self._tell(replace(self.roster, problems=tuple(str(error).splitlines())))
            live = self._files.configuration.live()
            self._done_for = (*seen, self._nginx.generation(), live)
            self._retry_at = time.monotonic() + (0 if soon else RETRY_S)
            return self.roster

    def _read(self) -> Folder:
        return read_folder(self._files.config_dir, known=self._read_before)

    def _compose(self, folder: Folder, waiting: Collection[str] = ()) -> Candidate:
        candidate = composed(
            self._texts,
            *(folder, self._environ, self._files.good.all()),
            certificates=self._certificates,
            waiting=waiting,
        )
        self._certificates = candidate.certificates.folder
        return candidate

    def _apply(self, rendered: Rendered, running: str | None, patience_s: float) -> None:
        """Make it live and see that nginx runs it; else put back what nginx ran. Raises Unusable.

        `patience_s`: a reload of thousands of sites takes nginx as long as its test of them, and more.
        """
        files, generation = self._files.configuration, rendered.generation
        if running == generation == files.live():
            return
        files.show(generation)
        if running is None:  # nginx is about to start, and will read it then
            return
        if not self._nginx.reload(generation, timeout_s=patience_s):
            if files.has(running):
                files.show(running)
                self._nginx.reload(running, timeout_s=patience_s)
            raise Unusable(
                f"nginx did not take over generation {generation} (its log says why); {running} serves on"
            )
        log.info("configuration: nginx runs generation %s", generation)
        self._forget_others(rendered)

    def _forget_others(self, rendered: Rendered) -> None:
        self._files.configuration.forget_others(rendered.generation)
        self._files.pairs.forget_all_but(rendered.pairs)

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
            if entry.standing is not Standing.CURRENT and entry != self.roster.entries.get(name):
                log.warning("configuration: %s is %s: %s", name, entry.standing, "; ".join(entry.reasons))
        self.roster = roster


@contextmanager
def garbage_left() -> Iterator[None]:
    """Of thousands of sites hundreds of thousands of objects stay, none of them in a circle.

    To go through all of them again and again, as new ones are made, takes a quarter of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def environment_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What of it may be the gateway's."""
    return {name: raw for name, raw in environ.items() if is_ours(name)}
