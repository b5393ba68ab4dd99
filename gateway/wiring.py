"""The composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.clock import SystemClock
from gateway.adapters.compose import ComposeEngine
from gateway.adapters.journal import SqliteJournal
from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.remote import RemoteAgent
from gateway.adapters.routing import RoutingFiles
from gateway.adapters.token import read_token
from gateway.controller import Controller
from gateway.core.model import Site
from gateway.core.serving import DomainCertificate
from gateway.directory import Directory
from gateway.paths import ROUTING_DIR
from gateway.ports import Proxy
from gateway.runner import Runner
from gateway.settings import Settings
from gateway.views import Certificates, Views
from gateway.world import World


@dataclass(frozen=True, slots=True)
class Gateway:
    controller: Controller
    views: Views


def journal_of(settings: Settings) -> SqliteJournal:
    """Raises errors.Failed when it can't be read."""
    return SqliteJournal(Path(settings.state_dir) / "journal.sqlite3", SystemClock())


def local_proxy(settings: Settings) -> NginxProxy:
    """The nginx beside us."""
    return NginxProxy(RoutingFiles(ROUTING_DIR, settings.state_dir), ObservedAnswers())


def local_certificates(settings: Settings) -> Certificates:
    def certificates(site: Site) -> Sequence[DomainCertificate]:
        return CertificateFolder(settings.certs_dir, now=SystemClock().now()).of(site)

    return certificates


def remote_agent(settings: Settings) -> RemoteAgent:
    """The nginx of another container. Raises errors.Failed without the token."""
    return RemoteAgent(settings.agent, read_token(settings.token_file))


def build(
    settings: Settings,
    directory: Directory,
    *,
    journal: SqliteJournal,
    proxy: Proxy,
    certificates: Certificates,
) -> Gateway:
    clock = SystemClock()
    world = World(engine=ComposeEngine(settings.network), proxy=proxy, journal=journal, clock=clock)
    runner = Runner(world)
    views = Views(directory, world, runner, certificates)
    return Gateway(Controller(directory, world, runner), views)
