"""A running gateway, as tests see it: what people order, and what the world looks like then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from gateway.paths import CONTROLLER_SOCKET
from tests.conftest import own_tag
from tests.waiting import look_until

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "compose" / "demo"
TAG = own_tag()
IMAGE = f"gateway:{TAG}"
APP = f"gateway-app-{TAG}"


def docker(*args: str, timeout_s: float = 300) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}"
    return done.stdout.strip()


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
    domain: str = "site.test"
    host: str = "127.0.0.1"

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
        return httpx.get(f"http://{self.host}:{self.port}{path}", headers={"Host": self.domain}, timeout=30)

    def release(self) -> str:
        answer = self.get()
        return str(answer.json()["release"]) if answer.status_code == 200 else f"HTTP {answer.status_code}"

    def containers(self) -> list[str]:
        """Names of the site's application containers."""
        listed = docker("ps", "-a", "--filter", f"label=gateway.site={self.site}", "--format", "{{.Names}}")
        return sorted(listed.split())

    def phase(self) -> str:
        """Of the deployment that is running. "" while the controller does not answer."""
        running = self._status().get("deployment", {})
        return "none" if running is None else str(running.get("phase", ""))

    def _status(self) -> dict[str, Any]:
        """What tests ask for again and again, so not by a process for each question, where that can be."""
        pid = docker("inspect", "-f", "{{.State.Pid}}", self.controller)
        socket = f"/proc/{pid}/root{CONTROLLER_SOCKET}"
        try:
            if not os.access(f"/proc/{pid}/root", os.X_OK):
                return self.cli("status", self.site, "--json").final
            with httpx.Client(transport=httpx.HTTPTransport(uds=socket, verify=False), timeout=30) as http:
                shown: dict[str, Any] = http.get(f"http://gateway/sites/{self.site}/status").json()
                return shown
        except (httpx.TransportError, ValueError):
            return {}


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


def restarted(gateway: Gateway) -> Gateway:
    """Its containers have ended and started again: nginx has another port."""
    docker("restart", "-t", "5", *gateway.parts)
    return replace(gateway, port=published_port(gateway.container))


def published_port(container: str, inside: str = "80") -> int:
    return int(docker("port", container, inside).splitlines()[0].rpartition(":")[2])


Start = Callable[..., Gateway]
