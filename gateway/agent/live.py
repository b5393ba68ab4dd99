"""The agent: what is configured is made what nginx runs, at the start and whenever it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from gateway.adapters.certificates import CertificateFiles
from gateway.adapters.configuration import ConfigurationFiles, GoodFiles
from gateway.adapters.peers import Peers
from gateway.adapters.post import PostFile
from gateway.adapters.routing import RoutingFiles
from gateway.adapters.token import read_token
from gateway.adapters.watch import Watcher
from gateway.agent.hold import Hold, serve_for_ever
from gateway.agent.member import Member
from gateway.agent.preview import may_see
from gateway.agent.reconcile import Files, Reconciler, environment_of
from gateway.core.model import Slot
from gateway.paths import HOLD_SOCKET, LEASE_FILE, TLS_DIR
from gateway.ports import Proxy
from gateway.settings import Settings
from gateway.wiring import members_of


def reconciler(
    environ: Mapping[str, str],
    settings: Settings,
    routing: RoutingFiles,
    waiting: Callable[[], Collection[str]] = tuple,
) -> Reconciler:
    """`waiting` names the sites whose deployment has not ended: they keep what they have until then.

    `routing`: the very ones that are published by, for only one at a time may show a site.
    """
    files = Files(
        config_dir=Path(settings.config_dir),
        certs_dir=Path(settings.certs_dir),
        configuration=ConfigurationFiles(),
        pairs=CertificateFiles(TLS_DIR),
        good=GoodFiles(settings.state_dir),
        routing=routing,
    )
    return Reconciler(environment_of(environ), files, waiting=waiting)


def hold(files: RoutingFiles, reconciler: Reconciler, proxy: Proxy) -> None:
    """From now on, hold requests to paused sites until each pause ends, and say who may see a candidate.

    `proxy`: the one that drains are asked of, too, for two that ask at a time count each other's question.
    """
    see = may_see(lambda: reconciler.roster, _preview_token)

    def in_flight(name: str) -> int:
        site = reconciler.roster.site(name)
        return sum(proxy.in_flight(site, slot).requests for slot in Slot) if site else 0

    holding = Hold(files.paused_until, files.settle, in_flight=in_flight, may_see=see)
    threading.Thread(target=serve_for_ever, args=(holding, Path(HOLD_SOCKET)), daemon=True).start()


def member(settings: Settings, files: RoutingFiles, proxy: Proxy) -> Member:
    """The gateway beside us as one of many: from now on it serves while it has a lease. Raises Failed."""
    memory, peers = PostFile(settings.state_dir, LEASE_FILE), Peers(members_of(settings))
    found = Member(proxy, files, memory, peers)
    threading.Thread(target=found.run, daemon=True).start()
    return found


def _preview_token(file: str) -> str:
    return read_token(file, variable="GATEWAY_PREVIEW_TOKEN_FILE", whom="nginx' container needs")


def watch(settings: Settings, reconciler: Reconciler) -> Watcher:
    """From now on, look whenever something may have changed."""
    watcher = Watcher([Path(settings.config_dir), Path(settings.certs_dir)], reconciler.reconcile)
    watcher.start()
    return watcher
