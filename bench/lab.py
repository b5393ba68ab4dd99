"""The drop-in gateway on a real engine, for a measurement: started, used through the CLI, taken away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import docker

from gateway.cli.terminal import WORDS

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "compose" / "demo"
CLI = ROOT / ".venv" / "bin" / "gateway"
COMMAND_TIMEOUT_S = 180.0
POLL_S = 0.01
# The timeline has the wall clock, the load client a monotonic one.
CLOCKS_DIFFER_S = 0.005
SITE = "site"
DOMAIN = "demo.test"


class Broken(Exception):
    """The measurement can't go on; the text says why."""


def say(text: str) -> None:
    print(text, flush=True)


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    stdin: str = "",
    timeout_s: float = COMMAND_TIMEOUT_S,
) -> str:
    """The command's standard output. In a session of its own: a Ctrl-C is ours to handle."""
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | dict(env or {}),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        start_new_session=True,
        input=stdin,
    )
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Broken(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {said}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Outcome:
    """The last object that `gateway ... --json` printed, and the exit code."""

    exit_code: int
    answer: Mapping[str, Any]
    took_s: float

    @property
    def good(self) -> bool:
        return self.exit_code == 0

    @property
    def reason(self) -> str:
        return str(self.answer.get("reason") or self.answer.get("error") or "")

    @property
    def switch_ms(self) -> float:
        return float(self.answer["switch_ms"])

    def began(self, phase: str) -> float:
        """When the phase began, seconds since the epoch; the last entry where it is not there."""
        timeline = self.answer["timeline"]
        return float(next((e["at"] for e in timeline if e["phase"] == phase), timeline[-1]["at"]))

    @property
    def switched_at(self) -> float:
        """When the traffic's last change was ordered, on the load client's clock; never too late."""
        changes = [e["at"] for e in self.answer["timeline"] if e["phase"] in ("cutover", "reverting")]
        return float(changes[-1]) - time.time() + time.perf_counter() - CLOCKS_DIFFER_S

    @property
    def work_s(self) -> float:
        """From the order until the release is live and what it replaced has left, but for `waited_s`."""
        return self.began("keeping") - float(self.answer["created_at"]) - self.waited_s

    @property
    def waited_s(self) -> float:
        """For watching and draining."""
        return self.began("keeping") - self.began("observing")

    @property
    def breakdown(self) -> str:
        """How long each phase took."""
        timeline = self.answer["timeline"]
        return ", ".join(f"{a['phase']} {b['at'] - a['at']:.2f} s" for a, b in pairwise(timeline))


class Lab:
    """`with Lab("gateway-demo") as lab:` everything is gone afterwards, whatever happened."""

    def __init__(self, project: str, *, settings: Mapping[str, str], stacks: Path = DEMO) -> None:
        self.project, self.domain, self.port = project, DOMAIN, free_port()
        self.first_answer_s = 0.0  # after Docker started the container
        self._env = {
            "HTTP_PORT": str(self.port),
            "GATEWAY_DOMAIN": DOMAIN,
            "STACKS": str(stacks),
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_FILE": str(DEMO / "compose.yaml"),
            **settings,
        }

    def __enter__(self) -> Lab:
        # What a killed run left goes first; somebody's own site of this name is not touched.
        if not containers(self.project) and (own := containers(f"{SITE}-blue") + containers(f"{SITE}-green")):
            raise Broken(f"this engine already runs a site named {SITE!r}: {', '.join(own)}")
        self._take_away()
        try:
            self._compose("up", "-d")
            self._await_answer()
            self._await_controller()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():
            self._take_away()

    def _take_away(self) -> None:
        # The controller first, else it goes on with its work while we take that away; its network last.
        projects = (self.project, f"{SITE}-blue", f"{SITE}-green")
        for project in projects:
            if found := containers(project):
                run("docker", "rm", "-fv", *found, check=False)
        for project in reversed(projects):
            run("docker", "compose", "-p", project, "down", "-v", "--remove-orphans", check=False)

    def _compose(self, *args: str) -> str:
        return run("docker", "compose", *args, env=self._env)

    @cached_property
    def container(self) -> str:
        return self._compose("ps", "-q", "gateway").strip()

    def _await_answer(self) -> None:
        """Until the gateway answers at all: before the first release with its maintenance page."""
        deadline = time.monotonic() + 30
        while status_of("127.0.0.1", self.port, self.domain) != 503:
            if time.monotonic() > deadline:
                logs = run("docker", "compose", "-p", self.project, "logs", "--tail", "30", check=False)
                raise Broken(f"the gateway shows no maintenance page within 30 s; its log:\n{logs}")
            time.sleep(0.05)
        started = run("docker", "inspect", "-f", "{{.State.StartedAt}}", self.container).strip()
        self.first_answer_s = time.time() - datetime.fromisoformat(started).timestamp()

    def _await_controller(self) -> None:
        """The controller starts beside nginx, a moment later."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.cli("status", SITE)
                return
            except Broken:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def cli(self, *args: str, progress: Callable[[str], None] | None = None) -> Outcome:
        """`gateway ARGS --json`; progress gets each step as it happens."""
        return order({"GATEWAY_CONTAINER": self.container}, *args, progress=progress)

    def deploy(self, image: str, *, progress: Callable[[str], None] | None = None, **values: str) -> Outcome:
        settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        return self.cli("deploy", SITE, "--image", f"app={image}", *settings, progress=progress)


def order(env: Mapping[str, str], *args: str, progress: Callable[[str], None] | None = None) -> Outcome:
    """`gateway ARGS --json`, with `env` to say of which gateway."""
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [str(CLI), *args, "--json"],
            env=os.environ | dict(env),
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        watchdog = threading.Timer(COMMAND_TIMEOUT_S, process.kill)
        watchdog.daemon = True  # an interruption may come before it is cancelled
        watchdog.start()
        try:
            answer = _last_object(process.stdout or (), progress)
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            watchdog.cancel()
        errors.seek(0)
        if answer is None:
            raise Broken(f"`gateway {' '.join(args)}` ({process.returncode}): {errors.read()[-2000:]}")
    return Outcome(process.returncode, answer, time.monotonic() - began)


def _last_object(lines: Iterable[str], progress: Callable[[str], None] | None) -> Mapping[str, Any] | None:
    last: Mapping[str, Any] | None = None
    for line in lines:
        if not line.startswith("{"):
            continue
        value: Mapping[str, Any] = json.loads(line)
        if "step" not in value:
            last = value
        elif progress and "waiting" not in value:
            progress(WORDS.get(value["step"], value["step"]))
    return last


def containers(project: str) -> list[str]:
    label = f"label=com.docker.compose.project={project}"
    return run("docker", "ps", "-a", "--filter", label, "--format", "{{.Names}}").split()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def status_of(host: str, port: int, domain: str) -> int | None:
    request = urllib.request.Request(f"http://{host}:{port}/", headers={"Host": domain})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=1) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def plain_start_s(image_tag: str) -> float:
    """From `docker compose up -d` of the demo's stack, without a gateway, until it serves.

    That is when it answers and its own health check has passed.
    """
    project, client = "gateway-plain", docker.from_env(version="auto")
    stack = ["docker", "compose", "-p", project, "-f", str(DEMO / "stack.yaml")]
    run(*stack, "down", "-t", "2", check=False)
    began = time.monotonic()
    up = subprocess.Popen(
        [*stack, "up", "-d"],
        env=os.environ | {"RELEASE_TAG": image_tag},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while time.monotonic() < began + 60:
            address = _healthy_address(client, project)
            if address and status_of(address, 8000, DOMAIN) == 200:
                return time.monotonic() - began
            time.sleep(POLL_S)
        raise Broken("the demo application did not answer within 60 s without the gateway either")
    finally:
        with undisturbed():
            up.wait(60)
            run(*stack, "down", "-t", "2", check=False)
            client.close()


def _healthy_address(client: docker.DockerClient, project: str) -> str:
    """The address of the project's container, as soon as it is healthy. Asked of the API: 2-3 ms."""
    label = {"label": [f"com.docker.compose.project={project}"]}
    for found in client.api.containers(filters=label | {"health": ["healthy"]}):
        for network in found["NetworkSettings"]["Networks"].values():
            return str(network["IPAddress"])
    return ""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Cleaning up is not cut short by a second Ctrl-C."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(*_: object) -> NoReturn:
    """Once: a second signal must not break off what the first one started."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def finish(main: Callable[[], tuple[Mapping[str, Any], bool]]) -> NoReturn:
    """Runs a measurement. Its last line is the result as JSON; exits 1 when it is not good.

    The scripts stop their engine afterwards, which speaks too: with BENCH_RESULT the result goes
    to that file, and the script prints it as the very last line.
    """
    # Scripts start us in the background, where SIGINT is ignored: they pass a Ctrl-C on as SIGTERM.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        result, good = main()
    except KeyboardInterrupt:
        say("interrupted; everything that was started is gone")
        sys.exit(130)
    except (Broken, subprocess.TimeoutExpired) as error:
        say(f"broken off: {error}")
        sys.exit(1)
    line = json.dumps(result)
    if path := os.environ.get("BENCH_RESULT"):
        Path(path).write_text(line + "\n")
    else:
        say(line)
    sys.exit(0 if good else 1)
