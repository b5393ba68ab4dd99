"""A node is lost in the middle of a deployment: it ends by itself, and the other gateways serve."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from bench import load
from bench.analysis import lost
from bench.lab import DOMAIN, SITE
from bench.load import Load, Target
from bench.nodes import Node
from bench.swarm import Swarm, app_stack
from gateway.cli.terminal import WORDS
from tests.swarm.test_fleet import REPLICAS, loads
from tests.waiting import look_until

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(900)]
# So that each phase lasts long enough to be met.
SETTINGS = {
    "GATEWAY_PROBE_INTERVAL_S": "0.3",
    "GATEWAY_PROBE_SUCCESSES": "10",
    "GATEWAY_START_DEADLINE_S": "60",
    "GATEWAY_OBSERVE_S": "4",
    "GATEWAY_DRAIN_TIMEOUT_S": "10",
    "GATEWAY_KEEP_S": "4",
}
PHASES = ("starting", "probing", "cutover", "observing", "draining", "keeping", "retiring")
# Those that an order of their own leads to, and which its progress tells of.
STAGED = ("cutover", "draining")
# Over in a moment: when one is seen it has passed. With what may come instead.
SHORT = {"starting": "probing", "cutover": "observing"}
# A request on a connection that was kept to a replica there: nginx keeps them for a second (site.conf.j2).
NOTICED_S = 2.0
ENDS_WITHIN_S = 180.0


@pytest.fixture(scope="module")
def fleet(nodes: list[Node], gateway_image: str) -> Iterator[Swarm]:
    with Swarm(nodes, gateway_image, app_stack(REPLICAS, boot_s=4), SETTINGS) as fleet:
        yield fleet


def slow(nodes: list[Node]) -> AbstractContextManager[list[Load]]:
    """A request that outlasts the observation: a drain has something to wait for."""
    return load.loads([Target(node.ip, 80, DOMAIN, "/slow?ms=12000") for node in nodes], connections=1)


@dataclass
class Loss:
    node: Node
    at: float = 0.0  # on the load's clock
    then: float = 0.0  # seconds since the epoch

    def happen(self) -> None:
        self.at, self.then = time.perf_counter(), time.time()
        self.node.kill()


def in_phase(fleet: Swarm, phase: str, loss: Loss, others: list[Node]) -> None:
    """Wait until the deployment is in the phase, and lose the node then."""
    leader = fleet.leader()

    def reached(phase: str) -> bool:
        said = fleet.ask(*leader, "status", SITE).answer
        assert "deployment" in said, said
        running = said["deployment"]
        return running is not None and running["phase"] == phase

    if phase in STAGED:
        look_until(lambda: reached("ready"), within_s=90, every_s=0.1, what="ready")
        with slow(others):
            fleet.cli("switch", SITE, progress=lambda step: loss.happen() if step == WORDS[phase] else None)
        return
    if phase not in SHORT:
        look_until(lambda: reached(phase), within_s=90, every_s=0.1, what=phase)
    loss.happen()


def phase_at(ended: dict[str, Any], at: float) -> str:
    """In which phase the deployment was then, seconds since the epoch."""
    return str([entry["phase"] for entry in ended["timeline"] if entry["at"] <= at][-1])


def outlives(fleet: Swarm, nodes: list[Node], images: Mapping[int, str], phase: str, *, leads: bool) -> None:
    """Release 2 is deployed in place of 1; in that phase the leader's node is lost, or another."""
    fleet.settled()
    assert (done := fleet.deploy(images[1])).good, done.answer
    fleet.settled()
    _, leader = fleet.leader()
    victim = leader if leads else next(node for node in reversed(nodes) if node is not leader)
    others = [node for node in nodes if node is not victim]
    loss = Loss(victim)
    staged = ["--stage"] if phase in STAGED else []
    try:
        with loads(others) as every:
            fleet.cli("deploy", SITE, "--image", f"app={images[2]}", "--detach", *staged)
            in_phase(fleet, phase, loss, others)
            look_until(fleet.is_up, within_s=90, every_s=0.5, what="a controller leads")
            fleet.settled()
            time.sleep(1)
            ended = fleet.history()[0]
        live = {"succeeded": "2", "aborted": "1", "failed": "2"}[ended["phase"]]
        failed = [record for one in every for record in lost(one.records)]
        answered = [sorted(one.records, key=lambda r: r.sent)[-1].release for one in every]
        when = sorted({round(record.sent - loss.at, 1) for record in failed})
        print(f"{phase}: {ended['phase']}, {len(failed)} requests failed, sent {when} s after the loss")
        assert phase_at(ended, loss.then) in (phase, SHORT.get(phase))
        # The hook may have been there, and done half: there is no way back from that one.
        assert ended["phase"] != "failed" or phase == "contracting"
        assert answered == [live] * len(others)
        assert all(record.sent < loss.at + NOTICED_S for record in failed), failed
        assert len(failed) <= len(every) * 4, failed
    finally:
        if not victim.is_up:
            victim.start()
        look_until(fleet.is_whole, within_s=180, every_s=1, what="every gateway serves")


@pytest.mark.parametrize("leads", [False, True], ids=["another node", "the leader's node"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_deployment_ends_by_itself_and_no_more_than_what_was_in_flight_there_fails(
    fleet: Swarm,
    nodes: list[Node],
    app_images: dict[int, str],
    phase: str,
    leads: bool,  # noqa: FBT001
) -> None:
    outlives(fleet, nodes, app_images, phase, leads=leads)
