"""The real thing: a Docker Engine, the built image, and applications to deploy. Never skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Lock, own_tag

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "compose" / "demo"
TAG = own_tag()
IMAGE = f"gateway:{TAG}"
APP = f"gateway-app-{TAG}"


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

    container: str
    site: str
    port: int
    folder: Path

    def command(self, *args: str) -> list[str]:
        return [str(Path(sys.executable).parent / "gateway"), *args]

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {"GATEWAY_CONTAINER": self.container}

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


def wait_for(holds: Callable[[], bool], what: str, *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


def controller_answers(gateway: Gateway) -> bool:
    """Also one that can't reach Docker."""
    asked = gateway.cli("status")
    return asked.code == 0 or "Is /var/run/docker.sock mounted?" in asked.err


Start = Callable[..., Gateway]


@pytest.fixture
def start_gateway(images: None, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with other settings; takes away everything that it made."""
    started: list[tuple[str, str]] = []

    def start(**settings: str) -> Gateway:
        site = f"t{uuid.uuid4().hex[:8]}"
        (tmp_path / "stack.yaml").write_text((DEMO / "stack.yaml").read_text())
        env = {
            "GATEWAY_SITE": site,
            "GATEWAY_DOMAIN": "site.test",
            "GATEWAY_UPSTREAM": "app:8000",
            "GATEWAY_OBSERVE_S": "0.5",
            "GATEWAY_KEEP_S": "60",
            "GATEWAY_DRAIN_TIMEOUT_S": "20",
        } | settings
        started.append((site, f"gw-{site}"))
        docker("network", "create", f"gw-{site}")
        flags = [flag for pair in env.items() for flag in ("-e", "=".join(pair))]
        docker(
            *("run", "-d", "--name", f"gw-{site}", "--network", f"gw-{site}", "-p", "127.0.0.1::80"),
            *("-v", "/var/run/docker.sock:/var/run/docker.sock", "-v", f"{tmp_path}:/stacks:ro"),
            *("-v", f"gw-{site}:/var/lib/gateway", *flags, IMAGE),
        )
        port = int(docker("port", f"gw-{site}", "80").splitlines()[0].rpartition(":")[2])
        gateway = Gateway(f"gw-{site}", site, port, tmp_path)
        wait_for(lambda: controller_answers(gateway), "the controller answers")
        return gateway

    yield start
    for site, name in started:
        ids = docker("ps", "-aq", "--filter", f"label=gateway.site={site}").split()
        docker("rm", "-fv", name, *ids)
        for network in docker("network", "ls", "-q", "--filter", f"name={site}").split():
            docker("network", "rm", network)
        docker("volume", "rm", "-f", name)


@pytest.fixture
def gateway(start_gateway: Start) -> Gateway:
    return start_gateway()
