"""Deploys on a Swarm of three nodes, under a load that never retries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import wait_for
from tests.e2e.load import Load
from tests.swarm.conftest import NETWORK
from tests.swarm.nodes import Node

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
REPLICAS = 3
STACK = f"""
services:
  app:
    image: nothing:1
    deploy:
      replicas: {REPLICAS}
    stop_grace_period: 10s
"""


@dataclass(frozen=True)
class Gateway:
    node: Node
    name: str
    site: str
    port: int

    def cli(self, *args: str) -> tuple[int, dict[str, Any]]:
        command = [str(Path(sys.executable).parent / "gateway"), *args, "--json"]
        env = os.environ | {"GATEWAY_CONTAINER": self.name, "DOCKER_HOST": self.node.host}
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=env)
        said = done.stdout.strip().splitlines() or [json.dumps({"error": done.stderr})]
        final: dict[str, Any] = json.loads(said[-1])
        return done.returncode, final

    def phase(self) -> str:
        running = self.cli("status", self.site)[1]["deployment"]
        return str(running["phase"]) if running else "none"


@pytest.fixture
def gateway(nodes: list[Node], gateway_image: str, tmp_path: Path) -> Iterator[Gateway]:
    node, name, site = nodes[0], f"gw-{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
    (tmp_path / "stack.yaml").write_text(STACK)
    env = {
        "GATEWAY_ENGINE": "swarm",
        "GATEWAY_NETWORK": NETWORK,
        "GATEWAY_SITE": site,
        "GATEWAY_DOMAIN": "site.test",
        "GATEWAY_UPSTREAM": "app:8000",
        "GATEWAY_OBSERVE_S": "0.5",
        "GATEWAY_KEEP_S": "60",
    }
    flags = [flag for pair in env.items() for flag in ("-e", "=".join(pair))]
    socket = node.host.removeprefix("unix://")
    node.docker(
        *("run", "-d", "--name", name, "--network", NETWORK, "-p", "80"),
        *("-v", f"{socket}:/var/run/docker.sock", "-v", f"{tmp_path}:/stacks:ro", *flags, gateway_image),
    )
    port = int(node.docker("port", name, "80").splitlines()[0].rpartition(":")[2])
    gateway = Gateway(node, name, site, port)
    wait_for(lambda: gateway.cli("status")[0] == 0, "the controller answers")
    yield gateway
    node.docker("rm", "-fv", name)
    for slot in ("blue", "green"):
        node.docker("stack", "rm", f"{site}-{slot}")


def test_deploys_and_a_rollback_on_three_nodes_lose_no_request(
    gateway: Gateway, nodes: list[Node], app_images: dict[int, str]
) -> None:
    def deploy(release: int) -> tuple[int, dict[str, Any]]:
        return gateway.cli("deploy", gateway.site, "--image", f"app={app_images[release]}")

    assert deploy(1)[0] == 0, gateway.cli("history", gateway.site)
    with Load(gateway.port, host=gateway.node.ip) as load:
        for release in (2, 3):
            code, final = deploy(release)
            assert code == 0, final
            wait_for(lambda: gateway.phase() in ("keeping", "none"), "the previous one has left")
        assert gateway.cli("rollback", gateway.site)[0] == 0
    assert load.lost() == []
    assert {what for _, what in load.answers} == {"1", "2", "3"}
    assert [what for _, what in load.answers][-1] == "2"
    placed = nodes[0].docker("node", "ps", *(node.name for node in nodes), "--format", "{{.Node}}")
    assert {*placed.split()} == {node.name for node in nodes}


def test_a_release_that_never_becomes_healthy_is_refused_and_live_stays(
    gateway: Gateway, app_images: dict[int, str]
) -> None:
    assert gateway.cli("deploy", gateway.site, "--image", f"app={app_images[1]}")[0] == 0
    with Load(gateway.port, host=gateway.node.ip) as load:
        code, final = gateway.cli("deploy", gateway.site, "--image", "app=192.168.77.1:5000/nobody:1")
    assert code == 1, final
    assert load.lost() == []
    assert {what for _, what in load.answers} == {"1"}
