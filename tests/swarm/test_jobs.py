"""Jobs on Swarm keep the contract that those on Compose keep."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bench.nodes import Node
from gateway.adapters.swarm_jobs import SwarmJobs
from gateway.core.model import Hook, HookRun, Release, Site, Slot
from gateway.errors import EngineUnreachable
from gateway.ports import Clock, Engine, Jobs
from tests.contracts import JobsContract, deployment, eventually, run_hook
from tests.docker.conftest import SITE
from tests.swarm.conftest import NETWORK
from tests.swarm.test_engine import AroundSwarm, OnSwarm
from tests.swarm.test_fleet import RAFT_PORT

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
        listed = self._listed(self._node, "gateway.scheduler=true", '{{.Label "gateway.slot"}}')
        assert len(listed) == len(set(listed))
        return {Slot(slot) for slot in listed}

    def led_by(self, leader: Node) -> Node:
        """Which manager leads, as one of the others says."""
        asked = next(node for node in self._nodes if node is not leader)
        lines = asked.docker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}", check=False)
        return next((n for n in self._nodes if f"{n.name} Leader" in lines.splitlines()), leader)

    def is_to_be(self, availability: str, node: Node) -> None:
        self._node.docker("node", "update", "--availability", availability, node.name)

    def are_ready(self) -> bool:
        lines = self._node.docker("node", "ls", "--format", "{{.Status}} {{.Availability}}", check=False)
        return lines.splitlines() == ["Ready Active"] * len(self._nodes)

    def runner(self, hook: Hook) -> Node | None:
        """The node that the hook runs on."""
        on = (node for node in self._nodes if node.is_up)
        return next((node for node in on if self._listed(node, f"gateway.hook={hook}", "{{.ID}}")), None)

    def _listed(self, node: Node, label: str, what: str) -> list[str]:
        """Of the site's containers that have the label, and run on the node."""
        wanted = ("--filter", f"label=gateway.site={self._site.name}", "--filter", f"label={label}")
        return node.docker("ps", *wanted, "--format", what).split()

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

    def test_a_hook_is_run_once_though_the_manager_has_led_before(
        self, jobs: Jobs, site: Site, release: Release, clock: Clock, world: AroundJobs, nodes: list[Node]
    ) -> None:
        """Not so Swarm's own jobs: moby/moby#53632."""
        led: list[Node] = []
        while (leader := world.led_by(world.led_by(nodes[0]))) not in led:
            led.append(leader)
            with leader.closed(RAFT_PORT):
                eventually(clock, lambda leader=leader: world.led_by(leader) is not leader, within_s=60)  # type: ignore[misc]
            eventually(clock, world.are_ready, within_s=60)
        assert run_hook(jobs, site, 1, release, Hook.EXPAND, clock).exit_code == 0
        time.sleep(3)
        assert world.runs(Hook.EXPAND) == 1

    @pytest.mark.parametrize("loss", ["lost", "drained"])
    def test_a_hook_whose_node_is_gone_has_failed_and_is_not_run_elsewhere(
        self, jobs: Jobs, site: Site, release: Release, clock: Clock, world: AroundJobs, loss: str
    ) -> None:
        hook = Hook.EXPAND
        model = dict(release.stack)
        model["services"][hook] |= {"entrypoint": ["sh", "-c", "echo begun; exec sleep 600"]}
        model["services"][hook]["deploy"]["placement"]["constraints"] = ["node.hostname != node1"]
        endless = replace(release, stack=model)
        asked = [HookRun("", None, ())]

        def ask() -> HookRun:
            with suppress(EngineUnreachable):  # of three nodes, it may be the one that led
                asked.append(jobs.run_hook(site, deployment(site, 1), endless, hook, cancelled=lambda: False))
            return asked[-1]

        eventually(clock, lambda: ask().lines == ("begun",))
        runner = world.runner(hook)
        assert runner is not None
        try:
            if loss == "lost":
                runner.kill()
            else:
                world.is_to_be("drain", runner)
            eventually(clock, lambda: ask().exit_code is not None, within_s=60)
            assert asked[-1].exit_code
            assert loss in asked[-1].lines[-1]
            time.sleep(3)
            assert world.runner(hook) in (None, runner)
        finally:
            if runner.is_up:
                world.is_to_be("active", runner)
            else:
                runner.start()
            eventually(clock, world.are_ready, within_s=60)
