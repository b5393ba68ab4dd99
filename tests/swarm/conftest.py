"""Three nodes, a registry, and the images in it. Never skipped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.nodes import Node, published, registry, swarm
from tests.conftest import Lock, own_tag

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "compose" / "demo"
NETWORK = "shared"


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    with swarm(3) as nodes, registry(tmp_path_factory.mktemp("registry")):
        nodes[0].docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        yield nodes


@pytest.fixture(scope="session")
def python_image(nodes: list[Node]) -> str:
    return published(nodes[0], "gateway-lab/python:3", "python:3")


def built(what: Path, tag: str, *args: str) -> str:
    command = ["docker", "build", "-q", "--network=host", "-t", tag, *args, str(what)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return tag


@pytest.fixture(scope="session")
def gateway_image(nodes: list[Node], one_at_a_time: Lock) -> str:
    with one_at_a_time():
        return published(nodes[0], built(ROOT, f"gateway:{own_tag()}-swarm"), "gateway:1")


@pytest.fixture(scope="session")
def app_images(nodes: list[Node], one_at_a_time: Lock) -> dict[int, str]:
    """Of releases 1 to 3."""
    found = {}
    with one_at_a_time():
        for release in (1, 2, 3):
            tag = f"gateway-app-{own_tag()}-swarm:{release}"
            built(DEMO, tag, "--build-arg", f"RELEASE={release}")
            found[release] = published(nodes[0], tag, f"app:{release}")
    return found
