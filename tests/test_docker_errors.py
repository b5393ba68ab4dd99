"""What Docker says, as the error that it is: a step is tried again only where it may go well then."""

from __future__ import annotations

import pytest

from gateway.adapters.compose_command import refused
from gateway.errors import EngineError, EngineUnreachable


@pytest.mark.parametrize(
    "said",
    [
        "rpc error: code = Unavailable desc = error reading from server: connection reset by peer",
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "failed to create network x_default: Error response from daemon: rpc error: code = Unknown desc = "
        "The swarm does not have a leader. It's possible that too few managers are online.",
        "rpc error: code = Unknown desc = raft: failed to process the request: node lost leader status",
    ],
)
def test_a_swarm_whose_managers_have_no_leader_is_asked_again(said: str) -> None:
    found = refused(said)
    assert isinstance(found, EngineUnreachable)
    assert said in str(found)


@pytest.mark.parametrize(
    "said",
    [
        "rpc error: code = InvalidArgument desc = ContainerSpec: image reference must be provided",
        "failed to resolve reference: the registry's code = Unavailable",
        "no such image: shop:2",
    ],
)
def test_what_docker_refuses_stays_refused(said: str) -> None:
    found = refused(said)
    assert isinstance(found, EngineError)
    assert str(found) == said
