"""The composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.clock import SystemClock
from gateway.adapters.compose import ComposeEngine
from gateway.adapters.journal import SqliteJournal
from gateway.adapters.master import NginxMaster
from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.routing import RoutingFiles
from gateway.controller import Controller
from gateway.core.model import Site
from gateway.core.serving import DomainCertificate
from gateway.directory import Directory
from gateway.metrics import Metrics
from gateway.paths import ROUTING_DIR
from gateway.runner import Runner
from gateway.settings import Settings
from gateway.views import Certificates, Views
from gateway.world import World


@dataclass(frozen=True, slots=True)
class Gateway:
    controller: Controller
    views: Views
    metrics: Metrics
    journal: SqliteJournal


def build(settings: Settings, directory: Directory) -> Gateway:
    """Raises errors.Failed when the journal can't be read."""
    clock, routing = SystemClock(), RoutingFiles(ROUTING_DIR, settings.state_dir)
    world = World(
        engine=ComposeEngine(settings.network),
        proxy=NginxProxy(routing, ObservedAnswers()),
        journal=SqliteJournal(Path(settings.state_dir) / "journal.sqlite3", clock),
        clock=clock,
    )
    runner = Runner(world)

    certificates = _certificates(settings.certs_dir, clock)
    metrics = Metrics(
        directory, world, certificates, lambda site: routing.shown(site.name), NginxMaster().generation
    )
    views = Views(directory, world, runner, certificates)
    return Gateway(Controller(directory, world, runner), views, metrics, world.journal)


def _certificates(certs_dir: str, clock: SystemClock) -> Certificates:
    """Each is read anew, and looked over only when it has changed."""
    look = CertificateFolder(certs_dir, now=clock.now())

    def certificates(site: Site) -> Sequence[DomainCertificate]:
        nonlocal look
        look = CertificateFolder(certs_dir, now=clock.now(), previous=look)
        return look.of(site)

    return certificates
