"""The built image on a real Docker Engine. Docker missing is a failure, not a skip."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.adapters.nginx import NginxProxy
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.routing import RoutingFiles
from gateway.core.model import ProbePolicy, Routing, Site, Slot
from tests.conftest import Lock, own_tag
from tests.waiting import look_until

ROOT = Path(__file__).resolve().parents[2]
APP = Path(__file__).with_name("app.py")
# A tag of its own: tests/e2e removes its one when it ends.
IMAGE = f"gateway:{own_tag()}-data-plane"
SITE = Site("shop", ("shop.test",), "app", 8000, "/stacks/stack.yaml", probe=ProbePolicy(path="/"))
ENV = {"GATEWAY_SITE": "shop", "GATEWAY_DOMAIN": "shop.test", "GATEWAY_UPSTREAM": "app:8000"}
COMMAND_TIMEOUT_S = 280.0


def docker(*args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    assert not check or done.returncode == 0, f"docker {' '.join(args)}: {done.stdout}{done.stderr}"
    return done


def eventually(holds: Callable[[], bool], *, within_s: float = 30.0) -> float:
    """Seconds until it held."""
    return look_until(holds, within_s=within_s, every_s=0.01)


class Plane:
    """A running gateway whose run, routing and state directories the tests share with it."""

    def __init__(
        self, network: str, folder: Path, shm: Path, *, env: Mapping[str, str] = ENV, run: Sequence[str] = ()
    ) -> None:
        self.network, self.name = network, f"{network}-gateway"
        self.folder, self.shm, self.port, self.https_port = folder, shm, 0, 0
        self._env, self._run = dict(env), list(run)
        for part in ("run", "state", "config"):
            (folder / part).mkdir()
        self.files = RoutingFiles(shm / "routing", folder / "state")

    def start(self) -> None:
        mounts = {part: self.folder / part for part in ("run", "state", "config")} | {"shm": self.shm}
        inside = {"run": "/run/gateway", "state": "/var/lib/gateway", "shm": "/dev/shm/gateway"}
        inside |= {"config": "/etc/gateway"}
        volumes = [word for part, path in mounts.items() for word in ("-v", f"{path}:{inside[part]}")]
        env = [word for name, value in self._env.items() for word in ("-e", f"{name}={value}")]
        place = ["--name", self.name, "--network", self.network, *self._run]
        place += ["-p", "127.0.0.1::80", "-p", "127.0.0.1::443", "-p", "127.0.0.1::443/udp"]
        docker("run", "-d", *place, *env, *volumes, IMAGE)
        self.find_port()
        eventually(lambda: self.get()[0] is not None)

    def find_port(self) -> None:
        self.port, self.https_port = (
            int(docker("port", self.name, inside).stdout.split(":")[-1]) for inside in ("80", "443")
        )

    def proxy(self) -> NginxProxy:
        """The adapters as the daemon has them."""
        observed = ObservedAnswers(self.shm / "observed.log")
        return NginxProxy(self.files, observed, nginx_socket=str(self.folder / "run" / "nginx.sock"))

    def connect(self, *, timeout_s: float = 10.0) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def get(
        self, path: str = "/", *, host: str = "shop.test", headers: dict[str, str] | None = None
    ) -> tuple[int | None, str, dict[str, str]]:
        """Status (None: no answer), body, headers."""
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"Host": host, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
        except OSError:
            return None, "", {}
        finally:
            connection.close()

    def release(self) -> str:
        """Which release answers now."""
        return str(json.loads(self.get()[1])["release"])

    def app(self, slot: str, *sites: str) -> None:
        """An application in the slot, for these sites, whose release has the slot's name."""
        aliases = [word for site in sites or ("shop",) for word in ("--network-alias", f"{site}-{slot}")]
        place = ["--name", f"{self.network}-{slot}", "--network", self.network, *aliases]
        what = ["-e", f"RELEASE={slot}", "-v", f"{APP}:/app.py:ro", "--entrypoint", "python3"]
        docker("run", "-d", *place, *what, "gateway-lab/python:3", "/app.py")

    def remove(self) -> None:
        for name in (self.name, f"{self.network}-blue", f"{self.network}-green"):
            docker("rm", "-fv", name, check=False)

    def unfinished(self) -> socket.socket:
        """A request whose body does not end."""
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        peer.sendall(b"POST /uploads HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 9\r\n\r\n")
        return peer

    def websocket(self) -> socket.socket:
        """An open WebSocket to whatever serves."""
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        peer.sendall(
            b"GET /ws HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert peer.recv(4096).startswith(b"HTTP/1.1 101")
        return peer


@pytest.fixture(scope="session")
def gateway_image(one_at_a_time: Lock) -> Iterator[str]:
    with one_at_a_time():
        docker("build", "-q", "--network=host", "-t", IMAGE, str(ROOT))
    yield IMAGE
    docker("image", "rm", "-f", IMAGE, check=False)


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    name = f"gwtest-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name, check=False)


@contextmanager
def running_plane(
    network: str, *sites: str, env: Mapping[str, str] = ENV, run: Sequence[str] = ()
) -> Iterator[Plane]:
    """A gateway that nothing was released to yet, and both applications."""
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    shm = Path(tempfile.mkdtemp(prefix="gw", dir="/dev/shm"))
    shm.chmod(0o755)  # nginx's workers look into it
    plane = Plane(network, folder, shm, env=env, run=run)
    try:
        plane.start()
        plane.app("blue", *sites)
        plane.app("green", *sites)
        yield plane
    finally:
        plane.remove()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(shm, ignore_errors=True)


def ready_proxy(plane: Plane) -> NginxProxy:
    """The plane's adapters, once both applications answer."""
    proxy = plane.proxy()
    for slot in Slot:
        eventually(lambda slot=slot: proxy.probe(SITE, slot).ok)
    return proxy


def blue_serves(plane: Plane, *sites: Site) -> NginxProxy:
    """The plane's adapters, once its application answers and blue serves the sites."""
    proxy = plane.proxy()
    eventually(lambda: proxy.probe(SITE, Slot.BLUE).ok)
    for site in sites:
        proxy.publish(site, Routing(Slot.BLUE))
    return proxy


@pytest.fixture(scope="module")
def plane(gateway_image: str, network: str) -> Iterator[Plane]:
    with running_plane(network) as plane:
        yield plane


@pytest.fixture(scope="module")
def proxy(plane: Plane) -> NginxProxy:
    return ready_proxy(plane)
