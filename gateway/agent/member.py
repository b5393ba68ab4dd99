"""This gateway as one of many: it carries orders out by their numbers, and serves while it has a lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from gateway.adapters.post import PostFile
from gateway.adapters.routing import RoutingFiles
from gateway.core.fleet import GOING_S, LEASE_S, Change, Post, Standing, State
from gateway.core.model import Routing, Site
from gateway.errors import GatewayError
from gateway.ports import Proxy

log = logging.getLogger("gateway")
LOOK_S = 0.5
NO_LEASE = "neither the controller nor a majority of the gateways can be reached"
AskOthers = Callable[[tuple[str, ...]], Mapping[str, Post]]


class Member:
    """Thread-safe. `others`: the posts of those of the addresses that can be reached, within 2 s."""

    def __init__(
        self,
        proxy: Proxy,
        files: RoutingFiles,
        memory: PostFile,
        others: AskOthers,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises Failed when what it knew can't be read."""
        self._proxy, self._files, self._memory, self._others, self._now = proxy, files, memory, others, now
        self._post, self._until = memory.load(), memory.until()
        self._lock = threading.Lock()

    # What the controller orders

    def lease(self, order: int, since: float, own: str) -> Standing:
        """A lease, counted from `since` by our own clock, unless an order was missed or another is meant."""
        with self._lock:
            if (self._post.done, self._post.own) == (order, own):
                self._renew(since)
        self._serve_or_not()
        return self.standing()

    def standing(self) -> Standing:
        return Standing(self._post, self._now(), self._files.in_service)

    def wake(self, site: Site, routing: Routing) -> None:
        """What the order may have to wait for, beforehand."""
        self._files.wake(site.name, routing)

    def prepare(self, order: int, after: int, own: str) -> None:
        """Raises core.fleet.Refused, as all that has a number."""
        with self._lock:
            self._keep(self._post.promise(order, after=after, own=own))

    def commit(self, order: int, site: Site, change: Change) -> None:
        """Raises ProxyError, Failed. Repeated, it is harmless."""
        with self._lock:
            done = self._post.carry_out(order)
            if self._post.done == order:
                return
            if change.routing is not None:
                self._proxy.publish(site, change.routing)
            if change.admission is not None:
                self._proxy.admit(site, change.admission)
            self._keep(done)

    def take_over(
        self, order: int, members: tuple[str, ...], own: str, states: Mapping[str, State]
    ) -> Standing:
        """Everything as it is to be, whatever was missed. Raises ProxyError, Failed."""
        with self._lock:
            post = self._post.take_over(order, members, own)
            for site in sorted({*states, *self._files.ordered_sites()}):
                kept, wanted = self._files.kept(site), states.get(site, State())
                if kept.routing != wanted.routing:
                    self._files.publish(site, wanted.routing)
                if kept.ordered.admission != wanted.admission:
                    self._files.admit(site, wanted.admission)
            self._keep(post)
        return self.standing()

    def states(self) -> Mapping[str, State]:
        """What was ordered last, for a controller that takes over. Raises Failed."""
        kept = {site: self._files.kept(site) for site in self._files.ordered_sites()}
        return {site: State(one.routing, one.ordered.admission) for site, one in kept.items()}

    def served(self, site: Site) -> State | None:
        """What nginx says; None: it is out of service. Raises ProxyError."""
        if not self._files.in_service:
            return None
        return State(self._proxy.serving(site), self._proxy.admission(site))

    # What it sees to itself

    def run(self) -> None:
        """For ever."""
        while True:
            try:
                self.look()
            except Exception:  # whatever it is, a gateway that is not sure of its lease has none
                log.exception("whether this gateway may serve can't be looked up")
            time.sleep(LOOK_S)

    def look(self) -> None:
        self._serve_or_not()
        asked, post = self._now(), self._post
        if asked > self._until - LEASE_S / 2 and post.members:  # the controller has been silent for a while
            others = self._others(tuple(sorted({*post.members} - {post.own})))
            with self._lock:
                if self._post.may_go_on(others):
                    self._renew(asked)
            self._serve_or_not()

    def _renew(self, since: float) -> None:
        self._until = max(self._until, since + LEASE_S)
        self._memory.lease(self._until)

    def _keep(self, post: Post) -> None:
        self._memory.keep(post)
        self._post = post

    def _serve_or_not(self) -> None:
        may = self._now() < self._until - GOING_S
        if may == self._files.in_service:
            return
        with self._lock:
            try:
                if may:
                    self._files.enter_service()
                    log.info("in service")
                else:
                    log.warning("out of service: %s", NO_LEASE)
                    self._files.leave_service(NO_LEASE)
            except (GatewayError, OSError) as error:
                log.error("%s", error)
