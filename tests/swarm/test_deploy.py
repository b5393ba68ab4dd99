"""Deploys on a Swarm of three nodes, under a load that never retries."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.nodes import REGISTRY, Node
from tests.e2e.gateways import Gateway, Result, wait_for
from tests.e2e.load import Load
from tests.swarm.conftest import NETWORK

pytestmark = [pytest.mark.docker, pytest.mark.long, pytest.mark.timeout(600)]
REPLICAS, KEEP_S = 3, 1
STACK = f"""
services:
  app:
    image: nothing:1
    deploy:
      replicas: {REPLICAS}
    stop_grace_period: 10s
"""


@dataclass(frozen=True)
class OnNode(Gateway):
    docker_host: str = ""

    @property
    def env(self) -> dict[str, str]:
        return super().env | {"DOCKER_HOST": self.docker_host}

    def phase(self) -> str:
        running = self.cli("status", self.site, "--json").final["deployment"]
        return str(running["phase"]) if running else "none"


ENV = {
    "GATEWAY_DOMAIN": "site.test",
    "GATEWAY_UPSTREAM": "app:8000",
    "GATEWAY_OBSERVE_S": "0.5",
    "GATEWAY_KEEP_S": str(KEEP_S),
}
ON_SWARM = {"GATEWAY_ENGINE": "swarm", "GATEWAY_NETWORK": NETWORK}


@contextmanager
def started(
    node: Node, image: str, folder: Path, site: str, network: str, env: Mapping[str, str]
) -> Iterator[OnNode]:
    name = f"gw-{uuid.uuid4().hex[:8]}"
    flags = [flag for pair in (env | {"GATEWAY_SITE": site}).items() for flag in ("-e", "=".join(pair))]
    socket = node.host.removeprefix("unix://")
    try:
        node.docker(
            *("run", "-d", "--name", name, "--network", network, "-p", "80"),
            *("-v", f"{socket}:/var/run/docker.sock", "-v", f"{folder}:/stacks:ro", *flags, image),
        )
        port = int(node.docker("port", name, "80").splitlines()[0].rpartition(":")[2])
        gateway = OnNode(name, site, port, folder, name, host=node.ip, docker_host=node.host)
        wait_for(lambda: gateway.cli("status").code == 0, "the controller answers")
        yield gateway
    finally:
        node.docker("rm", "-fv", name)
        for slot in ("blue", "green"):
            node.docker("stack", "rm", f"{site}-{slot}", check=False)  # may be going already


@pytest.fixture
def site(tmp_path: Path) -> str:
    (tmp_path / "stack.yaml").write_text(STACK)
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def gateway(nodes: list[Node], gateway_image: str, tmp_path: Path, site: str) -> Iterator[OnNode]:
    with started(nodes[0], gateway_image, tmp_path, site, NETWORK, ENV | ON_SWARM) as gateway:
        yield gateway


def deploy(gateway: OnNode, image: str) -> Result:
    return gateway.cli("deploy", gateway.site, "--image", f"app={image}", "--json", timeout_s=240)


def test_deploys_and_a_rollback_on_three_nodes_lose_no_request(
    gateway: OnNode, nodes: list[Node], app_images: dict[int, str]
) -> None:
    first = deploy(gateway, app_images[1])
    assert first.code == 0, first.out + first.err
    with Load(gateway) as load:
        for release in (2, 3):
            done = deploy(gateway, app_images[release])
            assert done.code == 0, done.out + done.err
            wait_for(lambda: gateway.phase() == "none", "the previous one is gone", timeout_s=90)
        assert gateway.cli("rollback", gateway.site).code == 0
    assert load.lost() == []
    assert {what for _, what in load.answers} == {"1", "2", "3"}
    assert gateway.release() == "2"
    placed = nodes[0].docker("node", "ps", *(node.name for node in nodes), "--format", "{{.Node}}")
    assert {*placed.split()} == {node.name for node in nodes}


def test_a_release_that_never_becomes_healthy_is_refused_and_live_stays(
    gateway: OnNode, app_images: dict[int, str]
) -> None:
    assert deploy(gateway, app_images[1]).code == 0
    with Load(gateway) as load:
        refused = deploy(gateway, f"{REGISTRY}/nobody:1")
    assert refused.code == 1, refused.out
    assert load.lost() == []
    assert {what for _, what in load.answers} == {"1"}


@pytest.fixture
def composed(nodes: list[Node], gateway_image: str, tmp_path: Path, site: str) -> Iterator[OnNode]:
    """The same site on the same machine, as it was before that became a Swarm's."""
    node, network = nodes[0], f"{site}-compose"
    node.docker("network", "create", network)
    try:
        with started(node, gateway_image, tmp_path, site, network, ENV) as gateway:
            yield gateway
    finally:
        left = node.docker("ps", "-aq", "--filter", f"network={network}").split()
        if left:
            node.docker("rm", "-fv", *left)
        node.docker("network", "rm", network)


def test_a_compose_site_moves_with_its_stack_file_and_its_variables(
    composed: OnNode, gateway: OnNode, app_images: dict[int, str]
) -> None:
    """It goes on beside the new one until the clients have moved: neither sees the other's containers."""
    assert deploy(composed, app_images[1]).code == 0
    with Load(composed) as load:
        planned = gateway.cli("plan", gateway.site, "--image", f"app={app_images[1]}")
        assert planned.code == 0, planned.out + planned.err
        moved = deploy(gateway, app_images[1])
        assert moved.code == 0, moved.out + moved.err
        done = deploy(gateway, app_images[2])
        assert done.code == 0, done.out + done.err
        wait_for(lambda: gateway.phase() == "none", "the previous one is gone", timeout_s=90)
    assert load.lost() == []
    assert (composed.release(), gateway.release()) == ("1", "2")
