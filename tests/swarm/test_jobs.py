"""Jobs on Swarm keep the contract that those on Compose keep."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.nodes import Node
from gateway.adapters.swarm_jobs import SwarmJobs
from gateway.core.model import Hook, Site, Slot
from gateway.ports import Engine, Jobs
from tests.contracts import JobsContract
from tests.docker.conftest import SITE
from tests.swarm.conftest import NETWORK
from tests.swarm.test_engine import AroundSwarm, OnSwarm

pytestmark = [pytest.mark.docker, pytest.mark.long]
STACK = """
x-app: &app
  image: IMAGE
  entrypoint: ["sleep", "600"]
  stop_grace_period: 0s
  deploy: {placement: {constraints: ["node.hostname == node1"]}}
services:
  app:
    <<: *app
  worker:
    <<: *app
    entrypoint: ["sh", "-c", "trap 'sleep 1; exit 0' USR1; while :; do sleep 0.1; done"]
    labels: {gateway.quiesce: SIGUSR1, gateway.quiesce.timeout_s: 20}
  cron:
    <<: *app
    labels: {gateway.scheduler: "true"}
  expand:
    <<: *app
    entrypoint: ["sh", "-c", "echo x >> /runs/expand; echo done"]
    volumes: ["runs:/runs"]
    labels: {gateway.hook: expand}
  contract:
    <<: *app
    entrypoint: ["sh", "-c", "exit 3"]
    labels: {gateway.hook: contract}
volumes:
  runs: {external: true, name: "VOLUME"}
"""


class AroundJobs(AroundSwarm):
    def schedulers(self) -> set[Slot]:
        """Where one runs, as the nodes' own engines say."""
        wanted = [f"label=gateway.site={self._site.name}", "label=gateway.scheduler=true"]
        filters = [word for one in wanted for word in ("--filter", one)]
        listed = self._node.docker("ps", *filters, "--format", '{{.Label "gateway.slot"}}').split()
        assert len(listed) == len(set(listed))
        return {Slot(slot) for slot in listed}

    def runs(self, hook: Hook) -> int:
        folder = self._node.docker("volume", "inspect", self._site.name, "--format", "{{.Mountpoint}}")
        return len(Path(folder.strip(), hook).read_text().split())

    @contextmanager
    def unreachable(self) -> Iterator[Jobs]:  # type: ignore[override]
        with self._monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nobody.sock")
            yield SwarmJobs(NETWORK)


class TestSwarmJobs(OnSwarm, JobsContract):
    @pytest.fixture
    def site(self, tmp_path: Path, nodes: list[Node], python_image: str) -> Iterator[Site]:
        name, file = f"s{uuid.uuid4().hex[:8]}", tmp_path / "stack.yaml"
        file.write_text(STACK.replace("IMAGE", python_image).replace("VOLUME", name))
        nodes[0].docker("volume", "create", name)
        yield replace(SITE, name=name, stack_file=str(file))
        nodes[0].docker("volume", "rm", "-f", name, check=False)

    @pytest.fixture
    def jobs(self, engine: Engine) -> Jobs:
        return SwarmJobs(NETWORK)

    @pytest.fixture
    def world(
        self, site: Site, nodes: list[Node], python_image: str, monkeypatch: pytest.MonkeyPatch
    ) -> AroundJobs:
        return AroundJobs(site, nodes, python_image, monkeypatch)
