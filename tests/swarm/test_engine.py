"""The engine on Swarm keeps the contract that the one on Compose keeps."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from docker.models.services import Service

from bench.nodes import Node
from gateway.adapters.clock import SystemClock
from gateway.adapters.services import NAMESPACE
from gateway.adapters.swarm import SwarmEngine
from gateway.core import policy, stack
from gateway.core.model import Release, Replica, Site, Slot
from gateway.errors import EngineError, StackInvalid
from gateway.ports import Clock, Engine
from tests.contracts import LOG_LINES, EngineContract, RollingContract, eventually, start
from tests.docker.conftest import SITE
from tests.swarm.conftest import NETWORK

pytestmark = [pytest.mark.docker, pytest.mark.long]
STACK = """
services:
  app:
    image: {image}
    entrypoint: ["sh", "-c", "seq {lines}; exec sleep 600"]
    stop_grace_period: 0s
"""


class AroundSwarm:
    def __init__(self, site: Site, nodes: list[Node], image: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site, self._nodes, self._image, self._monkeypatch = site, nodes, image, monkeypatch
        self._node = nodes[0]

    @contextmanager
    def unreachable(self) -> Iterator[Engine]:
        with self._monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nobody.sock")
            yield SwarmEngine(NETWORK)

    def fail(self, replica: Replica, slot: Slot) -> None:
        engine = SwarmEngine(NETWORK)

        def is_killed() -> bool:
            for node in self._nodes:
                if found := node.docker("ps", "-q", "--filter", f"name={replica.name}.").split():
                    node.docker("kill", *found)
                    return True
            return False  # it is being started

        eventually(SystemClock(), is_killed, within_s=30)

        def has_failed() -> bool:
            return any(r.name == replica.name and r.restarts for r in engine.replicas(self._site, slot))

        eventually(SystemClock(), has_failed, within_s=30)

    @contextmanager
    def foreign(self, slot: Slot) -> Iterator[Callable[[], bool]]:
        name = stack.project(self._site, slot)
        label = f"{NAMESPACE}={name}"
        self._node.docker(
            *("service", "create", "--detach", "--name", name, "--label", label, self._image, "sleep", "600")
        )
        try:
            yield lambda: name in self._node.docker("service", "ls", "--format", "{{.Name}}").split()
        finally:
            self._node.docker("service", "rm", name)


class OnSwarm:
    @pytest.fixture
    def site(self, tmp_path: Path, python_image: str) -> Site:
        file = tmp_path / "stack.yaml"
        file.write_text(STACK.format(image=python_image, lines=LOG_LINES + 10))
        return replace(SITE, name=f"s{uuid.uuid4().hex[:8]}", stack_file=str(file))

    @pytest.fixture
    def world(
        self, site: Site, nodes: list[Node], python_image: str, monkeypatch: pytest.MonkeyPatch
    ) -> AroundSwarm:
        return AroundSwarm(site, nodes, python_image, monkeypatch)

    @pytest.fixture
    def engine(self, site: Site, nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
        monkeypatch.setenv("DOCKER_HOST", nodes[0].host)
        engine = SwarmEngine(NETWORK)
        yield engine
        for slot in Slot:
            engine.stop(site, slot)

    @pytest.fixture
    def release(self, site: Site, engine: Engine) -> Release:
        return Release(1, site.name, engine.resolve(site, {}, {}), {})

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestSwarmEngine(OnSwarm, EngineContract, RollingContract):
    def test_its_tasks_have_the_image_that_the_registry_had_by_its_digest(
        self, engine: Engine, site: Site, release: Release, nodes: list[Node]
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        name = f"{stack.project(site, Slot.BLUE)}_{stack.alias(site, Slot.BLUE)}"
        image = nodes[0].docker(
            "service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", name
        )
        assert "@sha256:" in image

    def test_a_task_that_ends_again_and_again_is_broken_and_says_how(
        self, engine: Engine, site: Site, release: Release, clock: Clock
    ) -> None:
        model = dict(release.stack)
        model["services"]["app"] |= {"entrypoint": ["sh", "-c", "exit 3"]}
        start(engine, site, Slot.BLUE, replace(release, stack=model))
        eventually(clock, lambda: bool(policy.broken(engine.replicas(site, Slot.BLUE), site.service)))
        assert "3" in policy.broken(engine.replicas(site, Slot.BLUE), site.service)

    def test_a_start_that_no_node_can_do_waits_says_why_and_is_cancelled(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        model = dict(release.stack)
        model["services"]["app"] |= {"deploy": {"placement": {"constraints": ["node.labels.moon == yes"]}}}
        asked = iter([False] * 5)
        with pytest.raises(EngineError, match="cancelled"):
            engine.start(site, Slot.BLUE, replace(release, stack=model), cancelled=lambda: next(asked, True))
        said = [line for lines in engine.logs(site, Slot.BLUE).values() for line in lines]
        assert any("no suitable node" in line for line in said)

    def test_a_service_that_goes_while_a_slot_is_looked_at_is_no_error(
        self, engine: Engine, site: Site, release: Release, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        listed = SwarmEngine._own_services

        def list_then_remove(engine: SwarmEngine, site: Site, slot: Slot) -> list[Service]:
            services = listed(engine, site, slot)
            nodes[0].docker("service", "rm", *(str(service.id) for service in services))
            return services

        with monkeypatch.context() as patch:
            patch.setattr(SwarmEngine, "_own_services", list_then_remove)
            assert {replica.service for replica in engine.replicas(site, Slot.BLUE)} <= {site.service}
        assert not engine.replicas(site, Slot.BLUE)

    def test_what_swarm_can_t_do_is_refused_before_anything_is_started(
        self, engine: Engine, site: Site
    ) -> None:
        file = Path(site.stack_file)
        file.write_text(f"{file.read_text()}    privileged: true\n")
        with pytest.raises(StackInvalid) as refused:
            engine.resolve(site, {}, {})
        assert refused.value.problems == ("service 'app': privileged is not known to Swarm",)
