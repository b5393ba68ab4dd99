"""One of many gateways, asked over HTTP (agent.api)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.adapters.remote import RemoteAgent
from gateway.core.fleet import Change, Post, Standing, State
from gateway.core.model import Routing, Site
from gateway.wire import from_wire

# One that takes longer counts as one that can't be reached: all others wait for it.
ORDER_TIMEOUT_S = 1.5
# What there is of it, on one that was away: each steady site may take a second.
STATES_TIMEOUT_S = 60.0


class RemoteMember(RemoteAgent):
    """Raises ProxyError; AgentUnreachable when there is no answer."""

    def standing(self) -> Standing:
        return self._call(Standing, "standing", ORDER_TIMEOUT_S)

    def post(self) -> Post:
        return self.standing().post

    def lease(self, order: int, since: float, own: str) -> Standing:
        return self._call(Standing, "lease", ORDER_TIMEOUT_S, order=order, since=since, own=own)

    def wake(self, site: Site, routing: Routing) -> None:
        self._ask("wake", site=site, routing=routing)

    def prepare(self, order: int, after: int, own: str) -> None:
        self._ask("prepare", ORDER_TIMEOUT_S, order=order, after=after, own=own)

    def commit(self, order: int, site: Site, change: Change) -> None:
        self._ask("commit", ORDER_TIMEOUT_S, order=order, site=site, change=change)

    def take_over(
        self, order: int, members: tuple[str, ...], own: str, states: Mapping[str, State]
    ) -> Standing:
        return self._call(
            Standing, "take_over", STATES_TIMEOUT_S, order=order, members=members, own=own, states=states
        )

    def states(self) -> dict[str, State]:
        return self._call(dict[str, State], "states")

    def served(self, site: Site) -> State | None:
        """What it shows; None: it is out of service."""
        told = self._ask("served", ORDER_TIMEOUT_S, site=site)
        return None if told is None else from_wire(State, told)
