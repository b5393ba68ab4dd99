"""advance(): next step -> perform -> event -> settle, until a terminal phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.core.events import CancelRequested, Event
from gateway.core.model import Deployment
from gateway.core.plan import Step, next_step
from gateway.core.transitions import CANCELLABLE, TABLE, Table, apply


class Cancelled(Exception):
    """Raised inside a step's wait when a person asked for the previous release."""


Perform = Callable[[Deployment, Step], Event]
Settle = Callable[[Deployment, Event], Deployment]


def advance(deployment: Deployment, *, perform: Perform, settle: Settle) -> Deployment:
    """Run the deployment to its end and return it there.

    `settle` decides (see `decide`) and makes the new phase durable before it returns, so a restart
    that calls this with the stored deployment repeats exactly the step that was in progress.
    """
    while (step := next_step(deployment)) is not None:
        try:
            event = perform(deployment, step)
        except Cancelled:
            event = CancelRequested()
        deployment = settle(deployment, event)
    return deployment


def decide(
    deployment: Deployment, event: Event, *, cancel_requested: bool, table: Table = TABLE
) -> Deployment:
    """The next state. A cancel that was acknowledged wins over what the step brought.

    To be called, and its result saved, under the lock under which cancels are acknowledged.
    """
    if cancel_requested and deployment.phase in CANCELLABLE:
        after = apply(deployment, CancelRequested(), table=table)
        return replace(after, reason=after.reason or event.reason or "cancelled by a person")
    return apply(deployment, event, table=table)
