"""The real adapters keep the contracts that the simulated world is held to."""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvicorn
from docker.models.containers import Container

from gateway.adapters.clock import SystemClock
from gateway.adapters.compose import ComposeEngine
from gateway.adapters.compose_jobs import ComposeJobs
from gateway.adapters.fleet import Fleet
from gateway.adapters.fleet_proxy import FleetProxy
from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.post import PostFile
from gateway.adapters.remote import RemoteAgent
from gateway.adapters.remote_member import RemoteMember
from gateway.adapters.routing import RoutingFiles
from gateway.agent.api import Agent, create_app
from gateway.agent.member import Member
from gateway.core import stack
from gateway.core.model import Hook, InFlight, Release, Replica, Routing, Site, Slot, Strategy
from gateway.core.roster import Roster
from gateway.errors import AgentUnreachable, ProxyError
from gateway.ports import Clock, DataPlane, Engine, Jobs, Proxy
from tests.contracts import LOG_LINES, EngineContract, JobsContract, ProxyContract, RollingContract, start
from tests.docker.conftest import ENV, SITE, Plane, docker, eventually, ready_proxy, running_plane

pytestmark = pytest.mark.docker
LOGGED_WITHIN_S = 0.15
CANARY_AND_SESSIONS = {"GATEWAY_CANARY_STEPS": "10", "GATEWAY_SESSION_TIMEOUT_S": "60"}
STACK = f"""
services:
  app:
    image: gateway-lab/python:3
    entrypoint: ["sh", "-c", "seq {LOG_LINES + 10}; exec sleep 600"]
    stop_grace_period: 0s
"""


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network, env=ENV | CANARY_AND_SESSIONS) as plane:
        yield plane


class AroundNginx:
    clock = SystemClock()

    def __init__(self, plane: Plane, proxy: Proxy) -> None:
        self._plane, self._proxy = plane, proxy
        time.sleep(LOGGED_WITHIN_S)  # what was answered to the test before is not counted in this one

    def ask(self, statuses: Sequence[int]) -> None:
        for status in statuses:
            assert self._plane.get(f"/status?code={status}")[0] == status

    @contextmanager
    def answering(self, left: InFlight) -> Iterator[None]:
        with ExitStack() as peers:
            for _ in range(left.sockets):
                peers.enter_context(self._plane.websocket())
            for _ in range(left.requests):
                peers.enter_context(self._plane.unfinished())
            yield

    @contextmanager
    def empty(self, slot: Slot) -> Iterator[None]:
        container = f"{self._plane.network}-{slot}"
        docker("stop", "-t", "0", container)
        yield
        docker("start", container)
        eventually(lambda: self._proxy.probe(SITE, slot).ok)

    @contextmanager
    def silent(self) -> Iterator[Proxy]:
        observed = ObservedAnswers(self._plane.shm / "observed.log")
        yield NginxProxy(self._plane.files, observed, nginx_socket=str(self._plane.folder / "nobody.sock"))


class TestNginxProxy(ProxyContract):
    @pytest.fixture
    def site(self) -> Site:
        return SITE

    @pytest.fixture
    def world(self, plane: Plane, proxy: NginxProxy) -> AroundNginx:
        return AroundNginx(plane, proxy)


TOKEN = "t" * 32


@contextmanager
def agent(proxy: Proxy) -> Iterator[RemoteAgent]:
    """The agent's API before it, as a controller in another container calls it."""
    with answering(proxy) as port:
        yield RemoteAgent(("127.0.0.1", port), TOKEN)


@contextmanager
def answering(proxy: Proxy, member: Member | None = None) -> Iterator[int]:
    plane = DataPlane(proxy, lambda site: (), proxy.serving, lambda: None)
    app = create_app(Agent(plane, lambda waiting: Roster(), lambda site: None, member), TOKEN)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        eventually(lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)


class AroundAgent(AroundNginx):
    @contextmanager
    def silent(self) -> Iterator[Proxy]:
        with super().silent() as local, agent(local) as remote:
            yield remote


@pytest.fixture(scope="module")
def beside(plane: Plane) -> NginxProxy:
    """One for all tests: a new one would count what was answered before it was made."""
    return ready_proxy(plane)


class TestRemoteAgent(ProxyContract):
    @pytest.fixture
    def proxy(self, beside: NginxProxy) -> Iterator[RemoteAgent]:
        with agent(beside) as remote:
            yield remote

    @pytest.fixture
    def site(self) -> Site:
        return SITE

    @pytest.fixture
    def world(self, plane: Plane, proxy: RemoteAgent) -> AroundAgent:
        return AroundAgent(plane, proxy)

    def test_a_wrong_token_reaches_nothing(self, proxy: RemoteAgent, site: Site) -> None:
        stranger = RemoteAgent(proxy.address, TOKEN + "x")
        with pytest.raises(AgentUnreachable, match="another token"):
            stranger.publish(site, Routing())

    def test_an_agent_that_is_away_is_unreachable(self, site: Site) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            away = RemoteAgent(nobody.getsockname(), TOKEN)
            with pytest.raises(AgentUnreachable, match="does not answer"):
                away.serving(site)

    def test_a_name_that_is_none_becomes_no_path(self, proxy: RemoteAgent, site: Site) -> None:
        with pytest.raises(ProxyError, match="no site's name"):
            proxy.publish(replace(site, name="../x"), Routing())


@contextmanager
def fleet(proxy: Proxy, files: RoutingFiles) -> Iterator[FleetProxy]:
    """Of one gateway, as a controller of a Swarm calls it."""
    with TemporaryDirectory() as folder:
        memory = PostFile(folder, f"{folder}/lease")
        with answering(proxy, Member(proxy, files, memory, lambda addresses: {})) as port:
            gateways = Fleet(1, lambda: {"127.0.0.1": "here"}, lambda a: RemoteMember((a, port), TOKEN))
            gateways.look()
            yield FleetProxy(gateways)


class AroundFleet(AroundNginx):
    @contextmanager
    def silent(self) -> Iterator[Proxy]:
        with super().silent() as local, fleet(local, self._plane.files) as proxy:
            yield proxy


class TestFleetProxy(ProxyContract):
    @pytest.fixture
    def proxy(self, beside: NginxProxy, plane: Plane) -> Iterator[FleetProxy]:
        with fleet(beside, plane.files) as proxy:
            yield proxy

    @pytest.fixture
    def site(self) -> Site:
        return SITE

    @pytest.fixture
    def world(self, plane: Plane, proxy: FleetProxy) -> AroundFleet:
        return AroundFleet(plane, proxy)


class AroundDocker:
    def __init__(self, site: Site, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._site, self._network, self._monkeypatch = site, network, monkeypatch

    @contextmanager
    def unreachable(self) -> Iterator[Engine]:
        with self._monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nobody.sock")
            yield ComposeEngine(self._network)

    @contextmanager
    def foreign(self, slot: Slot) -> Iterator[Callable[[], bool]]:
        project = stack.project(self._site, slot)
        label = f"com.docker.compose.project={project}"
        docker("run", "-d", "--name", project, "--label", label, "gateway-lab/python:3", "sleep", "600")
        try:
            yield lambda: docker("inspect", "-f", "{{.State.Running}}", project).stdout.strip() == "true"
        finally:
            docker("rm", "-fv", project)

    def fail(self, replica: Replica, slot: Slot) -> None:
        docker("kill", replica.name)
        eventually(lambda: docker("inspect", "-f", "{{.State.Running}}", replica.name).stdout == "false\n")


class OnCompose:
    """A stack of the site's, which is gone after the test."""

    @pytest.fixture
    def engine(self, site: Site, network: str) -> Iterator[Engine]:
        engine = ComposeEngine(network)
        yield engine
        for slot in Slot:
            engine.stop(site, slot)

    @pytest.fixture
    def release(self, site: Site, network: str) -> Release:
        return Release(1, site.name, ComposeEngine(network).resolve(site, {}, {}), {})

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()


class TestComposeEngine(OnCompose, EngineContract, RollingContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        file = tmp_path / "stack.yaml"
        file.write_text(STACK)
        return replace(SITE, name=f"c{uuid.uuid4().hex[:8]}", stack_file=str(file))

    @pytest.fixture
    def world(self, site: Site, network: str, monkeypatch: pytest.MonkeyPatch) -> AroundDocker:
        return AroundDocker(site, network, monkeypatch)

    def test_replicas_that_were_made_and_not_started_when_it_was_killed_are_started(
        self, engine: Engine, site: Site, release: Release, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = replace(site, strategy=Strategy.ROLLING)
        two = replace(release, stack=stack.scaled(dict(release.stack), site.service, 2))
        engine.start(site, Slot.BLUE, two, cancelled=lambda: False, replicas=0)

        def killed(container: Container) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Container, "start", killed)
            engine.scale(site, Slot.BLUE, two, 2, cancelled=lambda: False)
        engine.scale(site, Slot.BLUE, two, 2, cancelled=lambda: False)
        assert [replica.state for replica in engine.replicas(site, Slot.BLUE)] == ["running"] * 2


REPLICAS, OVER_S = 4, 4.0
REPLICATED_STACK = f"""
services:
  app:
    image: gateway-lab/python:3
    entrypoint: ["sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"]
    stop_signal: SIGTERM
    scale: {REPLICAS}
"""


class TestManyReplicas(OnCompose):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        file = tmp_path / "stack.yaml"
        file.write_text(REPLICATED_STACK)
        return replace(SITE, name=f"c{uuid.uuid4().hex[:8]}", stack_file=str(file))

    def test_each_is_told_once_in_its_part_of_the_time_and_ends_by_itself(
        self, engine: Engine, site: Site, release: Release
    ) -> None:
        start(engine, site, Slot.BLUE, release)
        since = f"{time.time():.3f}"
        engine.stop(site, Slot.BLUE, over_s=OVER_S)
        mine = ["--filter", f"label=com.docker.compose.project={stack.project(site, Slot.BLUE)}"]
        times = ["--since", since, "--until", f"{time.time():.3f}", "--format", "{{json .}}"]
        events = [json.loads(line) for line in docker("events", *mine, *times).stdout.splitlines()]
        told = [event["timeNano"] / 1e9 for event in events if event["Action"] == "kill"]
        codes = [event["Actor"]["Attributes"]["exitCode"] for event in events if event["Action"] == "die"]
        assert len(told) == REPLICAS
        assert codes == ["0"] * REPLICAS
        assert max(told) - min(told) >= OVER_S * (REPLICAS - 2) / REPLICAS


JOBS_STACK = """
services:
  app: &app
    image: gateway-lab/python:3
    entrypoint: ["sleep", "600"]
    stop_grace_period: 0s
  by-signal:
    <<: *app
    entrypoint: ["sh", "-c", "trap 'sleep 0.5; exit 0' USR1; while :; do sleep 0.1; done"]
    labels: {gateway.quiesce: SIGUSR1, gateway.quiesce.timeout_s: 20}
  by-command:
    <<: *app
    labels: {gateway.quiesce.command: "sleep 1"}
  cron:
    <<: *app
    restart: always
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


class AroundJobs(AroundDocker):
    def schedulers(self) -> set[Slot]:
        wanted = [f"label=gateway.site={self._site.name}", "label=gateway.scheduler=true"]
        filters = [word for one in wanted for word in ("--filter", one)]
        listed = docker("ps", *filters, "--format", '{{.Label "gateway.slot"}}').stdout.split()
        assert len(listed) == len(set(listed))
        return {Slot(slot) for slot in listed}

    def runs(self, hook: Hook) -> int:
        folder = docker("volume", "inspect", self._site.name, "--format", "{{.Mountpoint}}").stdout.strip()
        return len(Path(folder, hook).read_text().split())

    @contextmanager
    def unreachable(self) -> Iterator[Jobs]:
        with self._monkeypatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nobody.sock")
            yield ComposeJobs(self._network)


class TestComposeJobs(OnCompose, JobsContract):
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        name, file = f"c{uuid.uuid4().hex[:8]}", tmp_path / "stack.yaml"
        file.write_text(JOBS_STACK.replace("VOLUME", name))
        docker("volume", "create", name)
        yield replace(SITE, name=name, stack_file=str(file))
        docker("volume", "rm", "-f", name)

    @pytest.fixture
    def jobs(self, engine: Engine, network: str) -> Jobs:
        return ComposeJobs(network)

    @pytest.fixture
    def world(self, site: Site, network: str, monkeypatch: pytest.MonkeyPatch) -> AroundJobs:
        return AroundJobs(site, network, monkeypatch)
