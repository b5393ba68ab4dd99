"""Many gateways as one: how many an order has to reach, and which of them may serve.

Every order to the gateways has a number. Each gateway promises it, which says no more than that it can be
reached, before any carries it out. It is in force when those that have not carried it out are too few to be a
majority: whoever missed it then finds no majority that did, too (docs/adr/0024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.core.admission import Admission
from gateway.core.model import Routing

# How long a gateway goes on serving without a word from the controller, or from a majority of all.
LEASE_S = 10.0
# How long before its end a gateway begins to go: what is steady is remembered for a second, and the others
# may take their time to answer.
GOING_S = 3.0
# Orders of a later term have higher numbers than all of the term before.
_TERM = 1 << 32


class Refused(ValueError):
    """An order, or a controller, that is behind."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a gateway knows. `done`: the last order that it carried out, all before it too; 0: it is new.

    `members`: the addresses of all gateways; `own`: which of them this one is. What is known is kept for the
    container that takes its place, on the same volume. That has another address, and is this member still.
    """

    promised: int = 0
    done: int = 0
    members: tuple[str, ...] = ()
    own: str = ""

    def promise(self, order: int, *, after: int, own: str) -> Post:
        """Raises Refused when another is meant, a later order is known, or one before it was missed."""
        self._refuse_older(order)
        if own != self.own:
            raise Refused(f"the gateway at {own} is another one now")
        if self.done not in (after, order):
            raise Refused(f"order {order} follows {after}, but {self.done} was the last that was carried out")
        return replace(self, promised=order)

    def carry_out(self, order: int) -> Post:
        """Raises Refused unless the order was the last that was promised."""
        if order != self.promised:
            raise Refused(f"order {order} was not promised: {self.promised} was the last")
        return replace(self, done=order)

    def take_over(self, order: int, members: tuple[str, ...], own: str) -> Post:
        """All that there is was told with the order. Raises Refused when a later one is known."""
        self._refuse_older(order)
        return Post(order, order, members, own)

    def _refuse_older(self, order: int) -> None:
        if order < self.promised:
            raise Refused(f"order {order} comes too late: {self.promised} is known already")

    def may_go_on(self, others: Mapping[str, Post]) -> bool:
        """Whether a majority, with this one, has carried out no order that this one has not.

        `others`: what those that can be reached know; what is new knows nothing. What was promised and is not
        carried out counts for nothing: nobody may ever do so, when the controller that ordered it is lost.
        """
        agree = {post.own for post in others.values() if 0 < post.done <= self.done}
        # An address may have become our own since.
        agree = agree.intersection(self.members) - {self.own}
        return self.done > 0 and len(agree) + 1 >= majority(len(self.members))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a gateway is. `clock`: its own, in seconds since some moment: a lease is counted by it."""

    post: Post
    clock: float
    in_service: bool


@dataclass(frozen=True, slots=True)
class State:
    """What was ordered last for a site, or what nginx shows of it."""

    routing: Routing = field(default_factory=Routing)
    admission: Admission = field(default_factory=Admission)

    def changed_by(self, change: Change) -> State:
        return State(change.routing or self.routing, change.admission or self.admission)


@dataclass(frozen=True, slots=True)
class Change:
    """What an order says of a site. None: that stays as it is."""

    routing: Routing | None = None
    admission: Admission | None = None


def majority(members: int) -> int:
    return members // 2 + 1


def suffices(reached: int, members: int) -> bool:
    """Whether those that an order does not reach are too few to go on by themselves."""
    return members - reached < majority(members)


def first_order(term: int) -> int:
    return term * _TERM


def source(found: Mapping[str, Post]) -> str | None:
    """Whose state a new controller takes over, of all gateways that it reaches; None: all of them are new.

    Raises Refused when there may be one that knows of a later order.
    """
    known = {address: post for address, post in found.items() if post.done}
    if not known:
        return None
    last = max(known.values(), key=lambda post: post.promised)
    reached = {post.own for post in known.values()}.intersection(last.members)
    if len(reached) < majority(len(last.members)):
        raise Refused(
            f"{len(reached)} of {len(last.members)} gateways can be reached: the others may know better what"
            " is live"
        )
    return max(known, key=lambda address: known[address].done)


def moved(here: Mapping[str, str]) -> set[str]:
    """Members that have another address now. `here`: where each answers now -> which member it is.

    Nothing is to be waited for at the one before: Swarm starts a node's next task when that has ended.
    """
    elsewhere = {member for address, member in here.items() if member != address}
    return elsewhere - {member for address, member in here.items() if member == address}
