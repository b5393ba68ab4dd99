"""The composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.clock import SystemClock
from gateway.adapters.compose import ComposeEngine
from gateway.adapters.compose_jobs import ComposeJobs
from gateway.adapters.journal import SqliteJournal
from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.routing import RoutingFiles
from gateway.controller import Controller
from gateway.core.model import Site
from gateway.core.serving import DomainCertificate
from gateway.directory import Directory
from gateway.paths import ROUTING_DIR
from gateway.runner import Runner
from gateway.settings import Settings
from gateway.views import Views
from gateway.world import World


@dataclass(frozen=True, slots=True)
class Gateway:
    controller: Controller
    views: Views
    journal: SqliteJournal


def build(settings: Settings, directory: Directory) -> Gateway:
    """Raises errors.Failed when the journal can't be read."""
    clock = SystemClock()
    world = World(
        engine=ComposeEngine(settings.network),
        jobs=ComposeJobs(settings.network),
        proxy=NginxProxy(RoutingFiles(ROUTING_DIR, settings.state_dir), ObservedAnswers()),
        journal=SqliteJournal(Path(settings.state_dir) / "journal.sqlite3", clock),
        clock=clock,
    )
    runner = Runner(world)

    def certificates(site: Site) -> Sequence[DomainCertificate]:
        return CertificateFolder(settings.certs_dir, now=clock.now()).of(site)

    views = Views(directory, world, runner, certificates)
    return Gateway(Controller(directory, world, runner), views, world.journal)
