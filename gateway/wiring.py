"""The composition root: the one place that knows which adapter stands behind which port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.clock import SystemClock
from gateway.adapters.compose import ComposeEngine
from gateway.adapters.compose_jobs import ComposeJobs
from gateway.adapters.fleet import Fleet
from gateway.adapters.gateways import GatewayTasks
from gateway.adapters.journal import Journal, SharedJournal, SqliteJournal
from gateway.adapters.leadership import Leadership
from gateway.adapters.master import NginxMaster
from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.remote import RemoteAgent
from gateway.adapters.remote_member import RemoteMember
from gateway.adapters.routing import RoutingFiles
from gateway.adapters.swarm import SwarmEngine
from gateway.adapters.swarm_jobs import SwarmJobs
from gateway.adapters.token import read_token
from gateway.controller import Controller
from gateway.core.model import Site
from gateway.core.serving import DomainCertificate
from gateway.directory import Directory
from gateway.metrics import Metrics
from gateway.paths import ROUTING_DIR
from gateway.ports import Certificates, DataPlane, Engine, Jobs
from gateway.runner import Runner
from gateway.settings import Settings
from gateway.views import Views
from gateway.world import World


@dataclass(frozen=True, slots=True)
class Gateway:
    controller: Controller
    views: Views
    metrics: Metrics


def journal_of(settings: Settings) -> SqliteJournal:
    """Raises errors.Failed when it can't be read."""
    return SqliteJournal(Path(settings.state_dir) / "journal.sqlite3", SystemClock())


def shared_journal(leadership: Leadership) -> Journal:
    """Raises errors.Failed when it can't be read; EngineError, EngineUnreachable."""
    return SharedJournal(leadership.load, leadership.save, SystemClock())


def leadership_of(settings: Settings) -> Leadership:
    """Raises errors.EngineError, EngineUnreachable."""
    return Leadership(settings.network)


def fleet_of(settings: Settings, term: int) -> Fleet:
    """All gateways. Raises errors.Failed without the token."""
    return Fleet(term, GatewayTasks(settings.network), members_of(settings))


def members_of(settings: Settings) -> Callable[[str], RemoteMember]:
    """Each of many gateways by its address. Raises errors.Failed without the token."""
    (_, port), token = settings.agent, read_token(settings.token_file)
    return lambda address: RemoteMember((address, port), token)


def routing_files(settings: Settings) -> RoutingFiles:
    return RoutingFiles(ROUTING_DIR, settings.state_dir)


def local_plane(files: RoutingFiles, settings: Settings) -> DataPlane:
    """The nginx beside us."""
    return DataPlane(
        proxy=NginxProxy(files, ObservedAnswers()),
        certificates=_certificates(settings.certs_dir),
        routing=lambda site: files.shown(site.name).routing,
        generation=NginxMaster().generation,
    )


def remote_agent(settings: Settings) -> RemoteAgent:
    """The nginx of another container. Raises errors.Failed without the token."""
    return RemoteAgent(settings.agent, read_token(settings.token_file))


def build(settings: Settings, directory: Directory, *, journal: Journal, plane: DataPlane) -> Gateway:
    clock = SystemClock()
    engine, jobs = _engine(settings)
    world = World(
        engine=engine,
        jobs=jobs,
        proxy=plane.proxy,
        journal=journal,
        clock=clock,
    )
    runner = Runner(world)
    metrics = Metrics(directory, world, plane, runner.leaving)
    views = Views(directory, world, runner, plane.certificates)
    return Gateway(Controller(directory, world, runner), views, metrics)


def _engine(settings: Settings) -> tuple[Engine, Jobs]:
    if settings.engine == "swarm":
        return SwarmEngine(settings.network), SwarmJobs(settings.network)
    return ComposeEngine(settings.network), ComposeJobs(settings.network)


def _certificates(certs_dir: str) -> Certificates:
    """Each is read anew, and looked over only when it has changed."""
    clock = SystemClock()
    look = CertificateFolder(certs_dir, now=clock.now())

    def certificates(site: Site) -> Sequence[DomainCertificate]:
        nonlocal look
        look = CertificateFolder(certs_dir, now=clock.now(), previous=look)
        return look.of(site)

    return certificates
