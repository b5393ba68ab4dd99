"""A node is lost while a hook runs, there or elsewhere: the deployment ends by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bench.nodes import Node
from bench.swarm import Swarm, app_stack
from tests.swarm.test_fleet import REPLICAS
from tests.swarm.test_loss import SETTINGS, outlives

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(900)]
HOOK_S = 6
IN_PHASE = {
    "expand": "expanding",
    "pre-switch": "preparing",
    "post-switch": "announcing",
    "contract": "contracting",
}


@pytest.fixture(scope="module")
def fleet(nodes: list[Node], gateway_image: str, python_image: str) -> Iterator[Swarm]:
    stack = json.loads(app_stack(REPLICAS, boot_s=0))
    for hook in IN_PHASE:
        stack["services"][hook] = {
            "image": python_image,
            "entrypoint": ["sleep", str(HOOK_S)],
            "labels": {"gateway.hook": hook},
        }
    with Swarm(nodes, gateway_image, json.dumps(stack), SETTINGS) as fleet:
        yield fleet


@pytest.mark.parametrize("leads", [False, True], ids=["another node", "the leader's node"])
@pytest.mark.parametrize("phase", IN_PHASE.values())
def test_a_hook_that_is_run_when_a_node_is_lost_goes_on_or_has_failed(
    fleet: Swarm,
    nodes: list[Node],
    app_images: dict[int, str],
    phase: str,
    leads: bool,  # noqa: FBT001
) -> None:
    outlives(fleet, nodes, app_images, phase, leads=leads)
