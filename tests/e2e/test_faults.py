"""What goes wrong around a deploy, on the real thing: a reason, its exit code, and nothing else changes."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.core.policy import KILLED
from tests.e2e.gateways import APP, Gateway, Start, docker, restarted, wait_for
from tests.e2e.load import Load
from tests.e2e.stacks import with_service

pytestmark = pytest.mark.docker


def interrupt(gateway: Gateway, phase: str, *args: str) -> subprocess.Popen[bytes]:
    """A deploy of release 2 that gets a Ctrl-C as soon as it says the phase; ended."""
    client = subprocess.Popen(
        gateway.command("deploy", gateway.site, "--image", f"app={APP}:2", *args),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=gateway.env,
        # A shell's background job ignores SIGINT, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert client.stdout
    while phase not in client.stdout.readline().decode():
        assert client.poll() is None
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)
    return client


@pytest.mark.parametrize("phase", ["starting", "probing", "observing"])
def test_ctrl_c_leaves_the_live_release_as_it_was(start_gateway: Start, phase: str) -> None:
    gateway = start_gateway(GATEWAY_OBSERVE_S="5")
    gateway.deploy(1)
    with Load(gateway) as load:
        client = interrupt(gateway, phase)
    assert client.returncode == 130
    assert load.lost() == []
    assert gateway.release() == "1"
    assert gateway.containers() == [f"{gateway.site}-blue-app-1"]


def test_ctrl_c_right_after_the_switch_was_ordered_brings_the_previous_release_back(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(GATEWAY_OBSERVE_S="5")
    gateway.deploy(1)
    with Load(gateway) as load:
        client = interrupt(gateway, "cutover")
    assert client.returncode == 130
    assert load.lost() == []
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_ctrl_c_while_the_previous_release_drains_brings_it_back(gateway: Gateway) -> None:
    gateway.deploy(1)
    slow = threading.Thread(target=lambda: gateway.get("/slow?ms=8000"))
    slow.start()
    time.sleep(0.3)
    client = interrupt(gateway, "draining")
    slow.join(30)
    assert client.returncode == 130
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_an_abort_of_a_staged_release_leaves_the_live_one(gateway: Gateway) -> None:
    gateway.deploy(1)
    assert gateway.deploy(2, "--stage").final["phase"] == "ready"
    assert gateway.cli("abort", gateway.site, "--json").code == 0
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_ctrl_c_does_not_wait_for_a_stack_that_takes_long_to_start(gateway: Gateway) -> None:
    gateway.deploy(1)
    text = (gateway.folder / "stack.yaml").read_text()
    long = f"  slow:\n    image: {APP}:1\n    entrypoint: [sleep, '100']\n    init: true\n"
    (gateway.folder / "stack.yaml").write_text(
        f"{text.rstrip()}\n    depends_on: {{slow: {{condition: service_completed_successfully}}}}\n{long}"
    )
    began = time.monotonic()
    client = interrupt(gateway, "starting")
    assert client.returncode == 130
    assert time.monotonic() - began < 50  # a hundred seconds would be the stack's own time
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_a_deploy_that_takes_longer_than_its_timeout_is_undone(gateway: Gateway) -> None:
    gateway.deploy(1)
    result = gateway.deploy(2, "--set", "BOOT_S=30", "--timeout", "1")
    assert result.code == 1
    assert "not done within 1 s: undone" in result.err
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


@pytest.mark.own_gateway
def test_without_docker_every_verb_that_needs_it_says_so_and_the_site_is_served(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(DOCKER_HOST="unix:///nowhere.sock", GATEWAY_NETWORK="any")
    for arguments in (["deploy", gateway.site], ["plan", gateway.site], ["status", gateway.site]):
        result = gateway.cli(*arguments)
        assert result.code == 6, result
        assert "Docker Engine can't be reached" in result.err
        assert "Traceback" not in result.err
    assert gateway.get().status_code == 503


def test_an_error_is_json_too(gateway: Gateway) -> None:
    result = gateway.cli("deploy", "nosuch", "--json")
    assert result.final["exit_code"] == result.code == 2
    assert "this gateway serves" in result.final["error"]


def test_a_release_that_needs_too_much_memory_is_refused_and_told_so(gateway: Gateway) -> None:
    gateway.deploy(1)
    with_service(gateway, mem_limit="24m", entrypoint=["python3", "-c", "x = bytearray(10**9)"])
    result = gateway.deploy(2)
    assert result.code == 1
    assert "out of memory" in result.final["reason"]
    # Docker learns of the lack of memory a moment before the end, or after: the look may come between.
    container = result.final["diagnosis"]["containers"][0]
    assert container["oom_killed"] or container["exit_code"] == KILLED
    assert gateway.release() == "1"


def test_a_stack_with_a_network_that_is_missing_is_refused_and_names_it(gateway: Gateway) -> None:
    gateway.deploy(1)
    with_service(gateway, networks=["backend"])
    with (gateway.folder / "stack.yaml").open("a") as file:
        file.write("networks:\n  backend:\n    external: true\n    name: no-such-network\n")
    result = gateway.deploy(2)
    assert result.code == 1
    assert "no-such-network" in result.final["reason"]
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_all_replicas_of_a_release_answer_and_none_loses_a_request(gateway: Gateway) -> None:
    with_service(gateway, scale=3)
    gateway.deploy(1)
    with Load(gateway) as load:
        assert gateway.deploy(2).code == 0
        replicas = [name for name in gateway.containers() if "-green-" in name]
        assert len(replicas) == 3
        for replica in replicas:
            wait_for(lambda replica=replica: connections(replica) > 0, f"{replica} answers")
    assert load.lost() == []


def connections(container: str) -> int:
    """Of the application's port, but for the listening one: the container's own kernel tells."""
    rows = docker("exec", container, "cat", "/proc/net/tcp").splitlines()[1:]
    return sum(local.endswith(":1F40") and state != "0A" for _, local, _, state, *_ in map(str.split, rows))


@pytest.mark.own_gateway
def test_after_a_lost_state_volume_what_runs_serves_again(gateway: Gateway) -> None:
    gateway.deploy(1)
    for part in gateway.parts:
        docker("exec", part, "sh", "-c", "rm -rf /var/lib/gateway/*")
    again = restarted(gateway)
    wait_for(lambda: again.cli("status").code == 0, "the controller answers")
    wait_for(lambda: again.release() == "1", "the release answers")
    assert again.deploy(2).code == 0
    assert again.release() == "2"


@pytest.mark.own_gateway
def test_a_deploy_that_never_began_leaves_no_trace(gateway: Gateway) -> None:
    before = everything(gateway)
    assert gateway.deploy(1, "--image", "web=shop:1").code == 2
    assert everything(gateway) == before


def everything(gateway: Gateway) -> Mapping[str, object]:
    places = ("/var/lib/gateway", "/dev/shm", "/tmp")
    states = [docker("exec", part, "find", *places) for part in gateway.parts]
    return {"containers": gateway.containers(), "files": [sorted(state.splitlines()) for state in states]}


def test_an_unreachable_controller_is_exit_code_6() -> None:
    gateway = Gateway("no-such-container", "site", 0, Path(), "no-such-container")
    assert gateway.cli("status").code == 6
