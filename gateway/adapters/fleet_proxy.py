"""Proxy over many gateways: what is ordered is ordered of all, and what is so is so on all."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from gateway.adapters.fleet import Fleet, Gateway, Gateways
from gateway.core.admission import Admission
from gateway.core.fleet import Change, State
from gateway.core.model import InFlight, ProbeResult, Routing, Sample, Site, Slot
from gateway.core.roster import Roster
from gateway.core.serving import DomainCertificate
from gateway.errors import AgentUnreachable, ProxyError
from gateway.ports import DataPlane
from gateway.wire import ToldRoster

LOOK_S = 0.1
T = TypeVar("T")


class FleetProxy:
    """Implements ports.Proxy. Thread-safe. Raises ProxyError; AgentUnreachable when none answers."""

    def __init__(self, fleet: Fleet, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._fleet, self._sleep = fleet, sleep
        self._told: dict[str, ToldRoster] = {}  # by the address of who told it
        self._whole, self._version = Roster(), ""

    def publish(self, site: Site, routing: Routing) -> None:
        self._fleet.all_of(self._fleet.reached(), lambda one: one.agent.wake(site, routing))
        self._fleet.order(site, Change(routing=routing))

    def serving(self, site: Site) -> Routing:
        return self._agreed(site).routing

    def admit(self, site: Site, admission: Admission) -> None:
        self._fleet.order(site, Change(admission=admission))

    def admission(self, site: Site) -> Admission:
        return self._agreed(site).admission

    def _agreed(self, site: Site) -> State:
        """What all in service say. Waits until those that can't be asked are out of it, at most LEASE_S."""
        while True:
            asked, said = self._in_service(site)
            if _differ(said):  # an order that is being carried out has reached some of them
                with self._fleet.between_orders:
                    asked, said = self._in_service(site)
            if self._fleet.knows_all(asked):
                break
            self._sleep(LOOK_S)
        if not said:
            raise AgentUnreachable("no gateway is in service")
        if _differ(said):
            each = ", ".join(f"{address} {state.routing.flag}" for address, state in said.items())
            raise ProxyError(f"the gateways do not serve the same: {each}")
        return next(iter(said.values()))

    def _in_service(self, site: Site) -> tuple[Collection[str], Mapping[str, State]]:
        """Who answered, and what those in service said."""
        found = self._answers(self._fleet.reached(), lambda one: one.agent.served(site))
        return found.keys(), {address: state for address, state in found.items() if state}

    def probe(self, site: Site, slot: Slot) -> ProbeResult:
        """Through each: the first that fails, else the first."""
        found = self._asked(lambda one: one.agent.probe(site, slot))
        return next((result for result in found if not result.ok), found[0])

    def in_flight(self, site: Site, slot: Slot, parts: Sequence[int] = ()) -> InFlight:
        found = self._asked(lambda one: one.agent.in_flight(site, slot, parts))
        return InFlight(sum(one.requests for one in found), sum(one.sockets for one in found))

    def sample(self, site: Site, slot: Slot) -> Sample:
        """Of all together, with the slowest one's latency. Who asks through two counts as two sessions."""
        found = self._asked(lambda one: one.agent.sample(site, slot))
        return Sample(
            requests=sum(one.requests for one in found),
            errors_5xx=sum(one.errors_5xx for one in found),
            unreachable=sum(one.unreachable for one in found),
            p95_s=max(one.p95_s for one in found),
            held=sum(one.held for one in found),
            sessions=sum(one.sessions for one in found),
        )

    def _asked(self, call: Callable[[Gateway], T]) -> list[T]:
        """What those in service answer."""
        there = {a: one for a, one in self._fleet.reached().items() if one.in_service}
        found = self._answers(there, call)
        if not found:
            raise AgentUnreachable("no gateway is in service")
        return list(found.values())

    def _answers(self, there: Gateways, call: Callable[[Gateway], T]) -> dict[str, T]:
        """Of those that can be reached. Raises ProxyError when one of them refuses."""
        refused: list[str] = []
        found = self._fleet.all_of(there, call, refused)
        if refused:
            raise ProxyError("; ".join(refused))
        return found

    # The rest of what an agent is asked

    def roster(self, waiting: Collection[str], *, known: str) -> ToldRoster:
        """Of the first that answers. Its problems say what is wrong with the others."""

        def told(one: Gateway) -> ToldRoster:
            before = self._told.get(one.address)
            said = one.agent.roster(waiting, known=before.version if before else "")
            return before if before and said.roster is None else said

        there = self._fleet.reached()
        found = self._fleet.all_of(there, told)
        if not found:
            raise AgentUnreachable("no gateway can be reached")
        first, *others = found
        rosters = {address: one.roster or Roster() for address, one in found.items()}
        whole = rosters[first]
        differ = tuple(
            f"the gateway on {there[address].name} has other sites or settings than the one on"
            f" {there[first].name}: give all the same"
            for address in others
            if rosters[address].entries != whole.entries
        )
        whole = replace(whole, problems=(*whole.problems, *differ, *self._fleet.problems()))
        self._told = found
        if whole != self._whole or not self._version:
            self._whole, self._version = whole, uuid.uuid4().hex
        return ToldRoster(self._version, None if known == self._version else whole)

    def forget(self, site: str) -> None:
        self._fleet.all_of(self._fleet.reached(), lambda one: one.agent.forget(site))

    def certificates(self, site: Site) -> tuple[DomainCertificate, ...]:
        """Those of the first that answers."""
        found = self._fleet.all_of(self._fleet.reached(), lambda one: one.agent.certificates(site))
        return next(iter(found.values()), ())

    def generation(self) -> str | None:
        """What all run; None: not all the same, or nobody answers."""
        found = self._fleet.all_of(self._fleet.reached(), lambda one: one.agent.generation())
        return next(iter(found.values())) if len({*found.values()}) == 1 else None

    @property
    def plane(self) -> DataPlane:
        return DataPlane(self, self.certificates, self.serving, self.generation)


def _differ(said: Mapping[str, State]) -> bool:
    return len({(state.routing, state.admission.door) for state in said.values()}) > 1
