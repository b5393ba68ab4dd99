"""Gateways with a network between them that can be cut anywhere, and controllers that come and go."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gateway.adapters.fleet import Fleet
from gateway.adapters.fleet_proxy import FleetProxy
from gateway.adapters.post import PostFile
from gateway.adapters.remote_member import RemoteMember
from gateway.adapters.routing import RoutingFiles
from gateway.agent.member import Member
from gateway.core.admission import Admission
from gateway.core.fleet import Post, Refused
from gateway.core.model import Routing, Site
from gateway.errors import AgentUnreachable, ProxyError
from gateway.ports import Proxy
from tests.simulation import SITE

CONTROLLER = "controller"
TICK_S = 0.5


class Nginx:
    """What of a Proxy a member asks for; it shows what the files say, at once."""

    def __init__(self, files: RoutingFiles) -> None:
        self.files, self.refuses = files, ""

    def publish(self, site: Site, routing: Routing) -> None:
        if self.refuses:
            raise ProxyError(self.refuses)
        self.files.publish(site.name, routing)

    def admit(self, site: Site, admission: Admission) -> None:
        self.files.admit(site.name, admission)

    def serving(self, site: Site) -> Routing:
        return self.files.shown(site.name).routing

    def admission(self, site: Site) -> Admission:
        return Admission(self.files.shown(site.name).door)


class Node:
    """One gateway. `start` is what its container's start does."""

    def __init__(self, lab: Lab, address: str, folder: Path) -> None:
        self.lab, self.address, self.folder = lab, address, folder
        self.runs = itertools.count()
        self.start()

    def start(self) -> None:
        place = self.folder / f"run-{next(self.runs)}"  # of a container: it has nothing of the one before
        self.files = RoutingFiles(
            place / "routing",
            self.folder,
            now=lambda: self.lab.now,
            sleep=self.lab.wait,
            today=lambda: self.lab.now,
        )
        self.files.leave_service("new")
        self.files.restore([SITE])
        self.nginx = Nginx(self.files)
        self.restart_agent(place)

    def restart_agent(self, place: Path | None = None) -> None:
        self.place = place or self.place
        memory = PostFile(str(self.folder), str(self.place / "lease"))
        proxy = cast(Proxy, self.nginx)
        self.member = Member(proxy, self.files, memory, self._others, now=lambda: self.lab.now)

    def _others(self, addresses: tuple[str, ...]) -> Mapping[str, Post]:
        return {
            a: self.lab.nodes[a].member.standing().post
            for a in addresses
            if a in self.lab.nodes and self.lab.joined(self.address, a)
        }

    @property
    def shows(self) -> Routing | None:
        """What a visitor is served; None: the page that says that nothing is."""
        shown = self.files.shown(SITE.name).routing
        return shown if shown.slot else None


class Ended(Exception):
    """The controller, in the middle of an order."""


class Line:
    """A RemoteMember to a node, while the network lets it through."""

    def __init__(self, lab: Lab, address: str) -> None:
        self._lab, self.address = lab, (address, 9180)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: object) -> object:
            address = self.address[0]
            if address not in self._lab.nodes or not self._lab.joined(CONTROLLER, address):
                raise AgentUnreachable(f"{address} does not answer")
            if (name, address) in self._lab.ends:
                raise Ended
            try:
                return getattr(self._lab.nodes[address].member, name)(*args)
            except Refused as error:
                raise ProxyError(str(error)) from error

        return call


class Lab:
    def __init__(self, folder: Path, count: int = 3) -> None:
        self.now, self.term = 1000.0, 0
        self.cut: set[frozenset[str]] = set()
        self.ends: set[tuple[str, str]] = set()  # what a controller does not come to: the call, the address
        self.nodes = {f"g{n}": Node(self, f"g{n}", folder / f"g{n}") for n in range(1, count + 1)}
        self.there = set(self.nodes)  # as Swarm says
        self.fleet: Fleet | None = None
        self.problem = ""

    def joined(self, one: str, other: str) -> bool:
        return frozenset((one, other)) not in self.cut

    def part(self, one: str, *others: str) -> None:
        self.cut |= {frozenset((one, other)) for other in others}

    def isolate(self, address: str) -> None:
        self.part(address, CONTROLLER, *(set(self.nodes) - {address}))

    def heal(self) -> None:
        self.cut = set()

    def move(self, to: Mapping[str, str]) -> None:
        """New containers in the place of these; address -> the new one, which may have been another's."""
        self.nodes = {to.get(address, address): node for address, node in self.nodes.items()}
        self.there = {to.get(address, address) for address in self.there}
        self.cut = {frozenset(to.get(address, address) for address in pair) for pair in self.cut}
        for address in to.values():
            self.nodes[address].address = address
            self.nodes[address].start()

    def lead(self) -> FleetProxy:
        """Another controller, from here on."""
        self.term += 1
        self.ends = set()
        self.fleet = Fleet(
            self.term,
            lambda: {a: a for a in sorted(self.there)},
            lambda address: cast(RemoteMember, Line(self, address)),
            now=lambda: self.now,
        )
        self.proxy = FleetProxy(self.fleet, sleep=self.pass_time)
        return self.proxy

    def wait(self, seconds: float) -> None:
        """As a gateway waits: nothing else happens."""
        self.now += max(0.0, seconds)

    def pass_time(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / TICK_S))):
            self.now += TICK_S
            for node in list(self.nodes.values()):
                node.member.look()
            if self.fleet:
                try:
                    self.fleet.look()
                    self.problem = ""
                except ProxyError as error:
                    self.problem = str(error)

    def shown(self) -> dict[str, Routing | None]:
        return {address: node.shows for address, node in self.nodes.items()}
