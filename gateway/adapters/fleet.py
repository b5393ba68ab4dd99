"""Many gateways: who there is, who has a lease, and orders that all of them carry out.

An order is promised by all, then carried out by all. One that can't be reached misses it; the others have
carried it out then, so that one gets no lease any more and is out of service before long (core.fleet).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from gateway.adapters.remote_member import RemoteMember
from gateway.core import fleet
from gateway.core.fleet import LEASE_S, Change, Standing, State
from gateway.core.model import Site
from gateway.errors import AgentUnreachable, ProxyError

log = logging.getLogger("gateway")
MOST_AT_ONCE = 64
T = TypeVar("T")


@dataclass(slots=True)
class Gateway:
    """What is known of one. `clock`: its own, when it answered last; None: it did not."""

    name: str  # its node, for people
    agent: RemoteMember
    clock: float | None = None
    done: int = 0
    own: str = ""  # the address that it was a member at
    in_service: bool = False
    why: str = ""  # it did not answer

    @property
    def is_reached(self) -> bool:
        return self.clock is not None

    @property
    def address(self) -> str:
        return self.agent.address[0]

    @property
    def is_moved(self) -> bool:
        """It was told what it knows at another address: it is not the member that was at this one."""
        return self.own not in ("", self.address)

    def heard(self, standing: Standing) -> None:
        self.clock, self.done, self.in_service = standing.clock, standing.post.done, standing.in_service
        self.own = standing.post.own
        self.why = ""

    def lost(self, why: str) -> None:
        if why != self.why:
            log.warning("the gateway on %s: %s", self.name, why)
        self.clock, self.in_service, self.why = None, False, why


Gateways = Mapping[str, Gateway]


class Fleet:
    """Thread-safe. `look` has to be called every second.

    `term` is higher than that of any controller before. `discover`: address -> node of all gateways that
    there are to be.
    """

    def __init__(
        self,
        term: int,
        discover: Callable[[], Mapping[str, str]],
        connect: Callable[[str], RemoteMember],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._discover, self._connect, self._now = discover, connect, now
        # Held for a moment only: orders and leases wait for it.
        self.between_orders = threading.RLock()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="gateways")
        self._known: dict[str, Gateway] = {}  # replaced as a whole
        self._members: tuple[str, ...] = ()
        self._order = 0  # the last that was carried out; 0: nothing was taken over yet
        self._next = fleet.first_order(term)
        self._states: dict[str, State] = {}
        self._out_at: dict[str, float] = {}  # address -> when one that missed an order is out of service

    def look(self) -> None:
        """Give leases, tell those that missed something, take in who is new and let go who is gone.

        Raises ProxyError when too few can be reached, EngineError when nobody can say who there is.
        """
        found = self._discover()
        with self.between_orders:
            self._know(found)
        away = {address: one for address, one in self._known.items() if not one.is_reached}
        # Without the lock: an order must not wait for those that do not answer.
        back = self.all_of(away, lambda gateway: gateway.agent.standing())
        with self.between_orders:
            for address, standing in back.items():
                self._known[address].heard(standing)
            if not self._order:
                self._begin()
            self._lease()
            self._tell_those_behind()
            self._settle_members(found)
            self._count_out()  # after that: who is leaving has missed an order by now

    def reached(self) -> dict[str, Gateway]:
        """The members that answered last. In service or not."""
        return {a: one for a, one in self._here().items() if a in self._members and not one.is_moved}

    def problems(self) -> list[str]:
        """Of gateways that do not serve."""
        known = [self._known[address] for address in self._members if address in self._known]
        amiss = {"can't be reached": [one for one in known if not one.is_reached]}
        amiss["is out of service"] = [one for one in known if one.is_reached and not one.in_service]
        return [f"the gateway on {one.name} {what}" for what, some in amiss.items() for one in some]

    def knows_all(self, asked: Collection[str]) -> bool:
        """Whether those that were not asked have carried out the last order, or are out of service.

        Raises ProxyError while too few have.
        """
        now, left = self._now(), {a: at for a, at in list(self._out_at.items()) if a not in asked}
        if math.inf in left.values():
            raise ProxyError(
                "too few gateways have carried out the last order, and the others can't be reached"
            )
        return all(at <= now for at in left.values())

    def order(self, site: Site, change: Change) -> None:
        """Raises ProxyError: too few can be reached, and nothing was done; or one of them refused."""
        with self.between_orders:
            if not self._order:
                raise AgentUnreachable("no gateway can be reached yet")
            self._tell_those_behind()
            order, after, refused = self._number(), self._order, list[str]()
            reached = self.reached()
            promised = self.all_of(reached, lambda one: one.agent.prepare(order, after, one.address), refused)
            self._require(promised)
            ready = {address: self._known[address] for address in promised}
            done = self.all_of(ready, lambda one: one.agent.commit(order, site, change), refused)
            self._order = order
            self._states[site.name] = self._states.get(site.name, State()).changed_by(change)
            for address in self._members:
                self._known[address].done = order if address in done else 0
            self._count_out()
        if refused:
            raise ProxyError("; ".join(refused))

    def all_of(
        self, gateways: Gateways, call: Callable[[Gateway], T], refused: list[str] | None = None
    ) -> dict[str, T]:
        """At the same time; the answers of those that gave one. `refused`: gets what the others said."""
        asked = {address: self._pool.submit(call, one) for address, one in gateways.items()}
        found: dict[str, T] = {}
        for address, answer in asked.items():
            gateway = gateways[address]
            try:
                found[address] = answer.result()
            except AgentUnreachable as error:
                gateway.lost(str(error))
            except ProxyError as error:
                if refused is None:
                    log.warning("the gateway on %s: %s", gateway.name, error)
                else:
                    refused.append(f"{gateway.name}: {error}")
        return found

    # With the lock held

    def _know(self, found: Mapping[str, str]) -> None:
        kept = {a: one for a, one in self._known.items() if a in found or a in self._members}
        new = {a: Gateway(name, self._connect(a)) for a, name in found.items() if a not in kept}
        self._known = kept | new

    def _begin(self) -> None:
        """Take over what the gateways know, as the one that orders from now on."""
        here = self._here()
        standings = self.all_of(here, lambda one: one.agent.standing())
        if not standings:
            raise AgentUnreachable("no gateway can be reached")
        for address, standing in standings.items():
            self._known[address].heard(standing)
        posts = {address: standing.post for address, standing in standings.items()}
        try:
            best = fleet.source(posts)
        except fleet.Refused as error:
            raise ProxyError(str(error)) from error
        self._states = self._known[best].agent.states() if best else {}
        self._members = max(posts.values(), key=lambda post: post.promised).members
        self._know({a: one.name for a, one in self._known.items()} | {a: a for a in self._members})
        self._order_everything(posts)

    def _lease(self) -> None:
        """Counted from when each answered the last question."""

        def lease(one: Gateway) -> Standing:
            assert one.clock is not None, "it was reached"
            return one.agent.lease(self._order, one.clock, one.address)

        for address, standing in self.all_of(self.reached(), lease).items():
            self._known[address].heard(standing)

    def _tell_those_behind(self) -> None:
        behind = {a: one for a, one in self.reached().items() if one.done != self._order}
        if behind:
            self._tell(behind, self._order, self._members)

    def _settle_members(self, found: Collection[str]) -> None:
        """Who is gone for Swarm, and does not answer, is let go once it is out of service.

        Not before: a controller after this one would not know that it has to wait for it. Who has another
        address than before is told of it.
        """
        now, moved = self._now(), self._moved(found)
        stay = {a for a in found if not self._known[a].is_moved} | {*moved, *self.reached()}
        leaving = [a for a in self._members if a not in stay]
        gone = [a for a in leaving if self._out_at.get(a, now) < now]
        new = [a for a in found if self._known[a].is_reached and a not in self._members]
        if new or moved or gone or any(a not in self._out_at for a in leaving):  # which misses this order
            self._order_everything(found, gone)

    def _order_everything(self, found: Collection[str], gone: Collection[str] = ()) -> None:
        """An order that says all that there is, to whoever is a member from now on. Raises ProxyError.

        At an address nobody is taken in before who was the member there has moved or is gone.
        """
        order, left = self._number(), {*self._members} - {*self._moved(found), *gone}
        here = {
            address: one
            for address, one in self._here().items()
            if (not one.is_moved if address in left else address in found)
        }
        members = tuple(sorted({*left, *here}))
        before = {address: one.own or address for address, one in here.items()}
        self._require(before.values())
        told = self._tell(here, order, members)
        self._require([before[address] for address in told])
        self._members, self._order = members, order
        self._count_out()

    def _here(self) -> dict[str, Gateway]:
        return {address: one for address, one in self._known.items() if one.is_reached}

    def _moved(self, found: Collection[str]) -> set[str]:
        """Members that answer at another address now."""
        here = {a: one.own for a, one in self._here().items() if a in found or not one.is_moved}
        return fleet.moved(here).intersection(self._members)

    def _tell(self, gateways: Gateways, order: int, members: tuple[str, ...]) -> dict[str, Standing]:
        told = self.all_of(
            gateways, lambda one: one.agent.take_over(order, members, one.address, self._states)
        )
        for address, standing in told.items():
            gateways[address].heard(standing)
            log.info("the gateway on %s knows of everything", gateways[address].name)
        return told

    def _count_out(self) -> None:
        """Those behind are out of service a lease after enough others have carried out what they missed."""
        behind = [a for a in self._members if self._known[a].is_moved or self._known[a].done != self._order]
        enough = fleet.suffices(len(self._members) - len(behind), len(self._members))
        at = self._now() + LEASE_S if enough else math.inf
        self._out_at = {address: min(at, self._out_at.get(address, at)) for address in behind}

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _require(self, reached: Collection[str]) -> None:
        """Raises ProxyError when the members that are left out could go on by themselves."""
        count, missing = len(self._members), [a for a in self._members if a not in reached]
        if not fleet.suffices(count - len(missing), count):
            names = ", ".join(self._known[address].name for address in missing)
            raise ProxyError(
                f"{count - len(missing)} of {count} gateways can be reached (not: {names}), too few for an"
                " order: nothing was changed"
            )
