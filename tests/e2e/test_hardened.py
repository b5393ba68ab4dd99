"""The hardened layout is what it says: none of its parts can do more than it needs to."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from gateway.adapters.docker_endpoints import endpoints
from tests.e2e.gateways import IMAGE, Gateway, docker, wait_for
from tests.e2e.layouts import HARDENED

pytestmark = [pytest.mark.docker, pytest.mark.own_gateway]
PARTS = ("gateway", "controller", "docker-proxy")
SETGID = 1 << 6  # linux/capability.h
PYTHON = "/opt/gateway/bin/python"


in_hardened = pytest.mark.parametrize("start_gateway", ["hardened"], indirect=True)


def part(gateway: Gateway, name: str) -> str:
    return gateway.controller.replace("-controller-", f"-{name}-")


def status_of_main_process(container: str) -> dict[str, str]:
    lines = docker("exec", container, "cat", "/proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def ask(container: str, script: str) -> str:
    """What a Python script says that runs in the container."""
    return docker("exec", container, PYTHON, "-c", script)


def fails(container: str, *command: str) -> bool:
    return subprocess.run(["docker", "exec", container, *command], capture_output=True).returncode != 0


def fails_as(user: str, container: str, *command: str) -> bool:
    ran = subprocess.run(["docker", "exec", "-u", user, container, *command], capture_output=True)
    return ran.returncode != 0


@in_hardened
def test_no_part_can_do_more_than_it_needs_to(gateway: Gateway) -> None:
    for name in PARTS:
        container = part(gateway, name)
        status = status_of_main_process(container)
        allowed = SETGID if name == "docker-proxy" else 0
        assert int(status["CapBnd"], 16) == allowed, name
        assert int(status["CapEff"], 16) == (allowed if name == "docker-proxy" else 0), name
        assert status["NoNewPrivs"] == "1", name
        assert (status["Uid"].split()[0] == "0") == (name == "docker-proxy"), name
        for place in ("/etc/x", "/opt/gateway/x", "/usr/x"):
            assert fails(container, "touch", place), f"{name}: {place}"
        has_socket = not fails(container, "test", "-e", "/var/run/docker.sock")
        assert has_socket == (name == "docker-proxy"), name
    workers = docker("exec", part(gateway, "gateway"), "sh", "-c", "grep -h ^Uid: /proc/[0-9]*/status")
    assert {line.split()[1] for line in workers.splitlines()} == {"64181"}


@in_hardened
def test_the_token_is_in_no_argument_variable_or_log(gateway: Gateway) -> None:
    gateway.deploy(1)
    token = (gateway.folder / "token").read_text()
    for name in PARTS:
        container = part(gateway, name)
        logs = subprocess.run(["docker", "logs", container], capture_output=True, text=True)
        processes = docker(
            "exec", container, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ; env"
        )
        told = docker("inspect", container) + logs.stdout + logs.stderr + processes
        assert token not in told, name


REFUSED = [
    ("POST", "/containers/x/attach"),
    ("GET", "/containers/x/archive"),
    ("GET", "/secrets"),
    ("POST", "/build"),
    ("POST", "/swarm/init"),
    ("GET", "/containers/../secrets"),
    ("GET", "/containers/x/../../secrets"),
    ("GET", "/containers/%2e%2e/secrets"),
    ("GET", "//secrets"),
    ("GET", "/containers/json/../../secrets"),
    ("TRACE", "/containers/json"),
]
ASK_DOCKER = """
import http.client, json, sys
for method, path in json.loads(sys.argv[1]):
    peer = http.client.HTTPConnection("docker-proxy", 2375, timeout=10)
    peer.request(method, path)
    print(peer.getresponse().status)
"""


@in_hardened
def test_what_is_not_on_the_list_is_refused_and_what_is_gets_to_docker(gateway: Gateway) -> None:
    asked = json.dumps([*REFUSED, ("GET", "/containers/json"), ("GET", "/v1.44/containers/json?all=1")])
    said = docker("exec", gateway.controller, PYTHON, "-c", ASK_DOCKER, asked).split()
    print(dict(zip(REFUSED, said, strict=False)))
    assert said[: len(REFUSED)] == ["403" if method != "TRACE" else "405" for method, _ in REFUSED]
    assert said[len(REFUSED) :] == ["200", "200"]


def test_the_list_names_what_may_be_done_and_nothing_that_reaches_into_a_container() -> None:
    listed = endpoints()
    assert listed == sorted(set(listed), key=lambda each: (each[1], each[0]))
    reaching = re.compile(r"export|commit|attach|build|swarm|secrets|plugins|session")
    assert [path for _, path in listed if reaching.search(path)] == []
    # `docker compose` puts a stack's `configs:` into its containers so; nothing is read out of one.
    assert {method for method, path in listed if "archive" in path} == {"PUT"}


ASK_AGENT = """
import http.client, json, sys
for header in ({}, {"Authorization": "Bearer " + "0" * 64}, {"Authorization": "Bearer"}):
    peer = http.client.HTTPConnection("agent", 9180, timeout=10)
    peer.request("POST", "/roster", json.dumps({"waiting": [], "known": ""}), header)
    print(peer.getresponse().status)
"""


@in_hardened
def test_the_agent_answers_nobody_without_the_token(gateway: Gateway) -> None:
    assert docker("exec", gateway.controller, PYTHON, "-c", ASK_AGENT).split() == ["401"] * 3


@in_hardened
def test_an_agent_that_is_away_is_exit_code_6_and_the_deploy_goes_on_when_it_is_back(
    gateway: Gateway,
) -> None:
    assert gateway.deploy(1).code == 0
    gateway.deploy(2, "--detach", "--stage")
    wait_for(lambda: gateway.phase() == "ready", "it stands ready")
    docker("stop", "-t", "2", gateway.container)
    away = gateway.cli("status")
    assert (away.code, "agent does not answer at agent:9180" in away.err) == (6, True)
    docker("start", gateway.container)
    wait_for(lambda: gateway.cli("status").code == 0, "the agent answers again")
    assert gateway.cli("switch", gateway.site).code == 0


@in_hardened
def test_docker_away_behind_its_proxy_is_exit_code_6(gateway: Gateway) -> None:
    docker("stop", "-t", "2", part(gateway, "docker-proxy"))
    refused = gateway.deploy(1)
    assert refused.code == 6
    docker("start", part(gateway, "docker-proxy"))
    wait_for(lambda: gateway.deploy(1).code == 0, "Docker can be reached again")


@pytest.mark.parametrize("text", ["short", "with a blank in it, but long enough to count as one", ""])
def test_a_token_that_is_none_stops_the_controller(images: None, tmp_path: Path, text: str) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    env = ["-e", "GATEWAY_ROLE=controller", "-e", "GATEWAY_TOKEN_FILE=/t", "-v", f"{token}:/t:ro"]
    done = subprocess.run(["docker", "run", "--rm", *env, IMAGE], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "GATEWAY_TOKEN_FILE: /t must hold at least 32 characters" in done.stderr


@pytest.mark.parametrize("start_gateway", ["drop-in"], indirect=True)
def test_in_the_drop_in_layout_nginxs_workers_cannot_write_to_the_state(gateway: Gateway) -> None:
    assert fails_as("nginx", gateway.container, "touch", "/var/lib/gateway/x")
    assert not fails_as("root", gateway.container, "touch", "/var/lib/gateway/x")


def test_the_compose_file_gives_docker_to_its_proxy_alone() -> None:
    text = HARDENED.read_text()
    assert text.count("docker.sock") == 2  # one line: the socket there and here
    assert "privileged" not in text
