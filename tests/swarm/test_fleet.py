"""Three gateways on three nodes: they switch as one, whatever is lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from bench import load
from bench.analysis import lost
from bench.lab import DOMAIN, SITE
from bench.load import Load, Target
from bench.nodes import Node
from bench.swarm import Swarm, app_stack
from gateway.adapters.leadership import LEADER
from gateway.core.fleet import LEASE_S
from tests.waiting import look_until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
REPLICAS = 3
RAFT_PORT = 2377
SETTINGS = {"GATEWAY_OBSERVE_S": "0.5", "GATEWAY_KEEP_S": "0"}
# Asks the gateway of a node from the node itself, again and again: when, and which release answered.
ASK = f"""
import http.client, json, time
while True:
    at, said = time.time(), None
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=5)
        connection.request("GET", "/", headers={{"Host": "{DOMAIN}"}})
        answer = connection.getresponse()
        text = answer.read()
        said = json.loads(text)["release"] if answer.status == 200 else answer.status
    except OSError as error:
        said = repr(error)
    print(json.dumps([at, said]), flush=True)
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def fleet(nodes: list[Node], gateway_image: str) -> Iterator[Swarm]:
    with Swarm(nodes, gateway_image, app_stack(REPLICAS, boot_s=0.2), SETTINGS) as fleet:
        yield fleet


@pytest.fixture
def live(fleet: Swarm, app_images: dict[int, str]) -> Swarm:
    """Release 1 is live, and nothing else is there."""
    fleet.settled()
    assert (done := fleet.deploy(app_images[1])).good, done.answer
    fleet.settled()
    return fleet


def loads(nodes: list[Node]) -> AbstractContextManager[list[Load]]:
    return load.loads([Target(node.ip, 80, DOMAIN) for node in nodes], connections=4)


@dataclass
class Asked:
    """What a node's own gateway answers on the node, over its loopback: also while nobody else reaches it."""

    node: Node
    answers: list[tuple[float, object]] = field(default_factory=list)

    def __enter__(self) -> Asked:
        enter = ["nsenter", f"--net=/var/run/netns/{self.node.namespace}", sys.executable, "-c", ASK]
        self._process = subprocess.Popen(enter, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            at, said = json.loads(line)
            self.answers.append((at, said))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(10)

    @property
    def last(self) -> object:
        return self.answers[-1][1] if self.answers else None


def test_all_gateways_switch_and_none_loses_a_request_or_goes_back(
    live: Swarm, nodes: list[Node], app_images: dict[int, str]
) -> None:
    with loads(nodes) as every:
        for release in (2, 3):
            assert (done := live.deploy(app_images[release])).good, done.answer
            live.settled()
    for one in every:
        assert lost(one.records) == []
        releases = [record.release for record in sorted(one.records, key=lambda r: r.sent)]
        assert list(dict.fromkeys(releases)) == ["1", "2", "3"]


@pytest.mark.long
def test_a_partitioned_gateway_never_serves_a_release_that_was_retired(
    live: Swarm, nodes: list[Node], app_images: dict[int, str]
) -> None:
    _, leads = live.leader()
    apart = next(node for node in reversed(nodes) if node is not leads)
    with Asked(apart) as asked:
        look_until(lambda: asked.last == "1", within_s=30, every_s=0.1, what="it serves release 1")
        apart.part()
        try:
            done = live.deploy(app_images[2])
            assert done.good, done.answer
            live.settled()
            retired = retired_at(live)
            time.sleep(LEASE_S)
        finally:
            apart.heal()
        look_until(lambda: asked.last == "2", within_s=90, every_s=0.2, what="it serves release 2")
    after = [said for at, said in asked.answers if at >= retired]
    assert "1" not in after
    assert "2" in after


def retired_at(fleet: Swarm) -> float:
    """When the release before the newest began to be stopped, seconds since the epoch."""
    timeline = fleet.history()[0]["timeline"]
    return float(next(entry["at"] for entry in timeline if entry["phase"] == "retiring"))


def has_a_majority(nodes: list[Node]) -> bool:
    return any(node.docker("node", "ls", "-q", check=False) for node in nodes)


def leading(node: Node) -> str:
    """As the managers have agreed: the node, and the controller's own number."""
    asked = ("config", "inspect", "gateway.gateway", "--format", "{{json .Spec.Labels}}")
    return str(json.loads(node.docker(*asked))[LEADER])


def test_the_other_controller_finishes_what_the_first_began(
    live: Swarm, nodes: list[Node], app_images: dict[int, str]
) -> None:
    container, node = live.leader()
    with loads(nodes) as every:
        live.cli("deploy", SITE, "--image", f"app={app_images[2]}", "--detach")
        node.docker("kill", container)
        look_until(live.is_up, within_s=60, every_s=0.5, what="another controller leads")
        live.settled()
        assert live.history()[0]["phase"] == "succeeded"
    for one in every:
        assert lost(one.records) == []
        assert sorted(one.records, key=lambda r: r.sent)[-1].release == "2"


@pytest.mark.long
def test_a_node_that_is_drained_costs_the_other_gateways_nothing(live: Swarm, nodes: list[Node]) -> None:
    _, leader = live.leader()
    drained = next(node for node in reversed(nodes) if node is not leader)
    others = [node for node in nodes if node is not drained]
    with loads(others) as every:
        leader.docker("node", "update", "--availability", "drain", drained.name)
        try:
            look_until(lambda: not drained.docker("ps", "-q"), within_s=90, every_s=0.5, what="it is empty")
            look_until(live.is_up, within_s=60, every_s=0.5, what="a controller leads")
            time.sleep(2)
        finally:
            leader.docker("node", "update", "--availability", "active", drained.name)
        look_until(live.is_whole, within_s=180, every_s=1, what="every gateway serves")
    for one in every:
        assert lost(one.records) == []


def test_a_controller_that_is_stopped_hands_over(live: Swarm) -> None:
    """The next one need not wait until this one has been silent for long enough."""
    container, node = live.leader()
    before = leading(node)
    node.docker("stop", container)
    assert leading(node) != before
    look_until(live.is_up, within_s=60, every_s=0.5, what="another controller leads")


@pytest.mark.long
def test_without_a_majority_nothing_is_ordered_and_every_gateway_serves(
    live: Swarm, nodes: list[Node], app_images: dict[int, str]
) -> None:
    image = f"app={app_images[2]}"
    with loads(nodes) as every:
        with nodes[0].closed(RAFT_PORT), nodes[1].closed(RAFT_PORT):
            look_until(lambda: not has_a_majority(nodes), within_s=60, every_s=0.5, what="no majority")
            time.sleep(2 * LEASE_S)
            refused = [live.ask(*one, "deploy", SITE, "--image", image) for one in live.controllers().items()]
            time.sleep(2)
        look_until(live.is_whole, within_s=180, every_s=1, what="every gateway serves")
        assert (done := live.deploy(app_images[3])).good, done.answer
    assert refused
    assert all(not one.good for one in refused), refused
    for one in every:
        assert lost(one.records) == []
        releases = [record.release for record in sorted(one.records, key=lambda r: r.sent)]
        assert list(dict.fromkeys(releases)) == ["1", "3"]
