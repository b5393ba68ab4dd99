"""Deploys on a Swarm of three nodes, under a load that never retries."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
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


@pytest.fixture
def gateway(nodes: list[Node], gateway_image: str, tmp_path: Path) -> Iterator[OnNode]:
    node, name, site = nodes[0], f"gw-{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
    (tmp_path / "stack.yaml").write_text(STACK)
    env = {
        "GATEWAY_ENGINE": "swarm",
        "GATEWAY_NETWORK": NETWORK,
        "GATEWAY_SITE": site,
        "GATEWAY_DOMAIN": "site.test",
        "GATEWAY_UPSTREAM": "app:8000",
        "GATEWAY_OBSERVE_S": "0.5",
        "GATEWAY_KEEP_S": str(KEEP_S),
    }
    flags = [flag for pair in env.items() for flag in ("-e", "=".join(pair))]
    socket = node.host.removeprefix("unix://")
    try:
        node.docker(
            *("run", "-d", "--name", name, "--network", NETWORK, "-p", "80"),
            *("-v", f"{socket}:/var/run/docker.sock", "-v", f"{tmp_path}:/stacks:ro", *flags, gateway_image),
        )
        port = int(node.docker("port", name, "80").splitlines()[0].rpartition(":")[2])
        gateway = OnNode(name, site, port, tmp_path, name, host=node.ip, docker_host=node.host)
        wait_for(lambda: gateway.cli("status").code == 0, "the controller answers")
        yield gateway
    finally:
        node.docker("rm", "-fv", name)
        for slot in ("blue", "green"):
            node.docker("stack", "rm", f"{site}-{slot}")


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
