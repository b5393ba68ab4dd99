"""The real thing: a Docker Engine, the built image, and applications to deploy. Never skipped."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.adapters.docker_endpoints import EVERYTHING, configuration
from tests.conftest import Lock, own_tag
from tests.waiting import look_until

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "compose" / "demo"
HARDENED = ROOT / "compose" / "hardened" / "compose.yaml"
TAG = own_tag()
IMAGE = f"gateway:{TAG}"
APP = f"gateway-app-{TAG}"
# Set by scripts/endpoints: then the proxy lets everything through, and what it was asked is noted there.
ENDPOINTS_LOG = os.environ.get("GATEWAY_ENDPOINTS_LOG")


def docker(*args: str, timeout_s: float = 300) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def images(one_at_a_time: Lock) -> Iterator[None]:
    """The gateway, and an application in releases 1 to 3."""
    with one_at_a_time():
        docker("build", "-q", "--network=host", "-t", IMAGE, str(ROOT))
        for release in (1, 2, 3):
            docker(
                *("build", "-q", "--network=host", "-t", f"{APP}:{release}"),
                *("--build-arg", f"RELEASE={release}", str(DEMO)),
            )
    yield
    docker("image", "rm", "-f", IMAGE, *(f"{APP}:{release}" for release in (1, 2, 3)))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def final(self) -> dict[str, Any]:
        """The last JSON object that was printed."""
        parsed: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return parsed


@dataclass(frozen=True)
class Gateway:
    """A running gateway with one site, `site`, whose stack file is in `folder`."""

    container: str  # where nginx runs
    site: str
    port: int
    folder: Path
    controller: str  # the container that the command line talks to: the same one in the drop-in layout

    @property
    def is_hardened(self) -> bool:
        return self.controller != self.container

    @property
    def parts(self) -> list[str]:
        """Its containers with a daemon of ours."""
        return sorted({self.container, self.controller})

    def command(self, *args: str) -> list[str]:
        return [str(Path(sys.executable).parent / "gateway"), *args]

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {"GATEWAY_CONTAINER": self.controller}

    def cli(self, *args: str, timeout_s: float = 120) -> Result:
        done = subprocess.run(
            self.command(*args), capture_output=True, text=True, timeout=timeout_s, env=self.env
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def deploy(self, release: int, *args: str) -> Result:
        return self.cli("deploy", self.site, "--image", f"app={APP}:{release}", "--json", *args)

    def get(self, path: str = "/") -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers={"Host": "site.test"}, timeout=30)

    def release(self) -> str:
        answer = self.get()
        return str(answer.json()["release"]) if answer.status_code == 200 else f"HTTP {answer.status_code}"

    def containers(self) -> list[str]:
        """Names of the site's application containers."""
        listed = docker("ps", "-a", "--filter", f"label=gateway.site={self.site}", "--format", "{{.Names}}")
        return sorted(listed.split())

    def phase(self) -> str:
        running = self.cli("status", self.site, "--json").final["deployment"]
        return str(running["phase"]) if running else "none"


KILL_THE_DAEMON = """
import glob, os
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if open(path, "rb").read().split(b"\\0")[1:3] == [b"-m", b"gateway.daemon"]:
        os.kill(int(path.split("/")[2]), 9)
"""


def kill_the_daemon(container: str) -> None:
    command = ["docker", "exec", container, "/opt/gateway/bin/python", "-c", KILL_THE_DAEMON]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # Where the daemon is all that the container is for, whoever kills it may go down with it.
    assert done.returncode in (0, 137), done.stderr


def wait_for(holds: Callable[[], bool], what: str, *, timeout_s: float = 30) -> None:
    look_until(holds, within_s=timeout_s, every_s=0.1, what=what)


def controller_answers(gateway: Gateway) -> bool:
    """Also one that can't reach Docker."""
    asked = gateway.cli("status")
    return asked.code == 0 or "Is /var/run/docker.sock mounted?" in asked.err


def restarted(gateway: Gateway) -> Gateway:
    """Its containers have ended and started again: nginx has another port."""
    docker("restart", "-t", "5", *gateway.parts)
    return replace(gateway, port=published_port(gateway.container))


def published_port(container: str, inside: str = "80") -> int:
    return int(docker("port", container, inside).splitlines()[0].rpartition(":")[2])


Start = Callable[..., Gateway]


@pytest.fixture(params=["drop-in", "hardened"])
def start_gateway(request: pytest.FixtureRequest, images: None, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with other settings; takes away everything that it made."""
    tmp_path.chmod(0o755)  # the hardened layout does not run as root
    begin = {"drop-in": _start_drop_in, "hardened": _start_hardened}[request.param]
    started: list[tuple[str, str]] = []

    def start(**settings: str) -> Gateway:
        site, name = f"t{uuid.uuid4().hex[:8]}", f"gw-{uuid.uuid4().hex[:8]}"
        (tmp_path / "stack.yaml").write_text((DEMO / "stack.yaml").read_text())
        env = {
            "GATEWAY_SITE": site,
            "GATEWAY_DOMAIN": "site.test",
            "GATEWAY_UPSTREAM": "app:8000",
            "GATEWAY_OBSERVE_S": "0.5",
            "GATEWAY_KEEP_S": "60",
            "GATEWAY_DRAIN_TIMEOUT_S": "20",
        } | settings
        started.append((site, name))
        container, controller = begin(name, tmp_path, env)
        gateway = Gateway(container, site, published_port(container), tmp_path, controller)
        wait_for(lambda: controller_answers(gateway), "the controller answers")
        return gateway

    yield start
    for site, name in started:
        # Its name is in that of each container, also of sites that a test named after it.
        ids = docker("ps", "-aq", "--filter", f"name={site}").split()
        parts = docker("ps", "-aq", "--filter", f"name={name}").split()
        if request.param == "hardened":
            _note_endpoints(f"{name}-docker-proxy-1")
        if found := [*parts, *ids]:  # a test may have taken them away itself
            docker("rm", "-fv", *found)
        for mine in (site, name):
            for network in docker("network", "ls", "-q", "--filter", f"name={mine}").split():
                docker("network", "rm", network)
        for volume in docker("volume", "ls", "-q", "--filter", f"name={name}").split():
            docker("volume", "rm", "-f", volume)


def _start_drop_in(name: str, folder: Path, env: Mapping[str, str]) -> tuple[str, str]:
    docker("network", "create", name)
    flags = [flag for pair in env.items() for flag in ("-e", "=".join(pair))]
    docker(
        *("run", "-d", "--name", name, "--network", name, "-p", "127.0.0.1::80"),
        *("-p", "127.0.0.1::443"),
        *("-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", f"{folder}:/stacks:ro"),
        *("-v", f"{name}:/var/lib/gateway", *flags, IMAGE),
    )
    return name, name


# What concerns Docker concerns the controller.
HARDENED_UID = 64181  # as the compose file and the image have it
CONTROLLERS_OWN = ("DOCKER_HOST", "GATEWAY_NETWORK")


def _start_hardened(name: str, folder: Path, env: Mapping[str, str]) -> tuple[str, str]:
    """By the very file that people get; a second one adds a test's own settings."""
    token, more = folder / "token", folder / f"{name}.yaml"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o400)
    os.chown(token, HARDENED_UID, HARDENED_UID)
    own = {key: value for key, value in env.items() if key in CONTROLLERS_OWN}
    gateway = {
        "environment": {key: value for key, value in env.items() if key not in own},
        "volumes": [f"{folder}:/stacks:ro"],
    }
    services: dict[str, Any] = {"gateway": gateway, "controller": {"environment": own}}
    if ENDPOINTS_LOG:
        (folder / "proxy.conf").write_text(configuration(EVERYTHING))
        services["docker-proxy"] = {"volumes": [f"{folder}/proxy.conf:/etc/nginx/docker-proxy.conf:ro"]}
    more.write_text(json.dumps({"services": services}))
    settings = {
        "GATEWAY_IMAGE": IMAGE,
        "HTTP_PORT": "127.0.0.1:",
        "HTTPS_PORT": "127.0.0.1:",
        "CONFIG": str(folder / "config"),
        "STACKS": str(folder),
        "TOKEN_FILE": str(token),
    }
    files = ["-f", str(HARDENED), "-f", str(more)]
    done = subprocess.run(
        ["docker", "compose", "-p", name, *files, "up", "-d"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return f"{name}-gateway-1", f"{name}-controller-1"


def _note_endpoints(proxy: str) -> None:
    """For scripts/endpoints: what was asked of Docker, and answered."""
    if ENDPOINTS_LOG:
        said = subprocess.run(["docker", "logs", proxy], capture_output=True, text=True).stdout
        with Path(ENDPOINTS_LOG).open("a") as file:
            file.write(said)


@pytest.fixture
def gateway(start_gateway: Start) -> Gateway:
    return start_gateway()
