"""What a stack does beside answering requests: one-shots, hooks, workers, schedulers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.e2e.gateways import Gateway, Start, docker, kill_the_daemon, wait_for

pytestmark = pytest.mark.docker
# A service that runs until it is stopped, and then stops at once.
LASTS = ["sh", "-c", "trap 'exit 0' TERM QUIT; while :; do sleep 0.1; done"]


@pytest.fixture
def gateway(start_gateway: Start) -> Gateway:
    return start_gateway(GATEWAY_KEEP_S="0", GATEWAY_HOOK_TIMEOUT_S="20")


@pytest.fixture
def runs(gateway: Gateway) -> str:
    """A volume in which each hook notes that it began; it goes with the site, after which it is named."""
    return docker("volume", "create", f"{gateway.site}-runs")


def add(gateway: Gateway, **services: dict[str, object]) -> None:
    file = gateway.folder / "stack.yaml"
    model = yaml.safe_load(file.read_text())
    for name, service in services.items():
        base = {"image": "gateway-lab/python:3"}
        model["services"][name] = model["services"].get(name, base) | service
    file.write_text(yaml.safe_dump(model))


def noting(gateway: Gateway, hook: str, then: str = "true") -> dict[str, object]:
    return {
        "entrypoint": ["sh", "-c", f"echo {hook} >> /runs/all; {then}"],
        "volumes": [f"{gateway.site}-runs:/runs"],
        "labels": {"gateway.hook": hook},
    }


def with_runs_volume(gateway: Gateway) -> None:
    file = gateway.folder / "stack.yaml"
    model = yaml.safe_load(file.read_text())
    model["volumes"] = {f"{gateway.site}-runs": {"external": True}}
    file.write_text(yaml.safe_dump(model))


def noted(gateway: Gateway) -> list[str]:
    # From the disk: the engine waits 2 s for what an ended container printed (moby issue 41827).
    folder = docker("volume", "inspect", f"{gateway.site}-runs", "--format", "{{.Mountpoint}}")
    return Path(folder, "all").read_text().split()


@pytest.mark.parametrize("waited_for", [False, True])
def test_a_one_shot_that_ends_well_is_done_and_one_that_fails_is_told(
    gateway: Gateway, *, waited_for: bool
) -> None:
    add(gateway, once={"entrypoint": ["sh", "-c", "echo prepared"], "restart": "no"})
    if waited_for:
        add(gateway, app={"depends_on": {"once": {"condition": "service_completed_successfully"}}})
    assert gateway.deploy(1).final["outcome"] == "succeeded"
    add(gateway, once={"entrypoint": ["sh", "-c", "echo no room; exit 4"]})
    failed = gateway.deploy(2)
    assert (failed.code, gateway.release()) == (1, "1")
    assert "once" in failed.final["reason"]
    assert "4" in failed.final["reason"]


@pytest.mark.own_gateway
def test_hooks_run_once_each_in_their_order_and_survive_a_killed_controller(
    gateway: Gateway, runs: str
) -> None:
    with_runs_volume(gateway)
    hooks = {hook: noting(gateway, hook) for hook in ("pre-switch", "post-switch", "contract", "on-failure")}
    add(gateway, expand=noting(gateway, "expand", "sleep 2"), **hooks)
    assert gateway.deploy(1, "--detach").code == 0
    wait_for(lambda: gateway.phase() == "expanding" and bool(gateway.containers()), "expand runs")
    kill_the_daemon(gateway.container)
    wait_for(lambda: gateway.cli("status").code == 0 and gateway.phase() == "none", "it has ended")
    assert gateway.release() == "1"
    assert noted(gateway) == ["expand", "pre-switch", "post-switch", "contract"]
    assert gateway.containers() == [f"{gateway.site}-blue-app-1"]


@pytest.mark.parametrize("hook", ["expand", "pre-switch", "post-switch"])
def test_a_hook_that_fails_leads_back_with_its_exit_code_and_its_last_lines(
    gateway: Gateway, runs: str, hook: str
) -> None:
    assert gateway.deploy(1).code == 0
    with_runs_volume(gateway)
    add(
        gateway,
        broken=noting(gateway, hook, "echo no such table; exit 5"),
        after=noting(gateway, "on-failure"),
    )
    failed = gateway.deploy(2)
    assert (failed.code, gateway.release()) == (1, "1")
    assert failed.final["reason"] == f"the hook {hook} (broken) exited with code 5: no such table"
    assert noted(gateway) == [hook, "on-failure"]
    assert gateway.containers() == [f"{gateway.site}-blue-app-1"]


def test_a_rollback_to_a_kept_release_that_died_does_not_run_the_contract(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_KEEP_S="60")
    gateway.deploy(1)
    add(gateway, tidy={"entrypoint": ["sh", "-c", "exit 1"], "labels": {"gateway.hook": "contract"}})
    assert gateway.deploy(2).final["phase"] == "keeping"
    docker("kill", f"{gateway.site}-blue-app-1")
    assert gateway.cli("rollback", gateway.site, "--json").code == 0
    assert gateway.release() == "1"
    history = [json.loads(line) for line in gateway.cli("history", gateway.site, "--json").out.splitlines()]
    assert [(d["release"], d["contracted"]) for d in history] == [("r1", False), ("r2", False), ("r1", False)]


def test_a_scheduler_runs_where_the_traffic_goes_and_a_worker_finishes_what_it_has(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(GATEWAY_KEEP_S="60")
    works = "trap 'sleep 1; exit 7' USR1; while :; do sleep 0.1; done"
    quiesced = {"gateway.quiesce": "SIGUSR1", "gateway.quiesce.timeout_s": "30"}
    told = {"gateway.quiesce.command": "kill -USR1 1; sleep 5"}
    add(
        gateway,
        cron={"entrypoint": LASTS, "labels": {"gateway.scheduler": "true"}},
        worker={"entrypoint": ["sh", "-c", works], "labels": quiesced, "stop_grace_period": "0s"},
        clerk={"entrypoint": ["sh", "-c", works], "labels": told, "stop_grace_period": "0s"},
    )
    slots = (f"name={gateway.site}-", "label=gateway.scheduler=true")

    def schedulers() -> str:
        return docker("ps", *(w for f in slots for w in ("--filter", f)), "--format", "{{.Names}}")

    gateway.deploy(1)
    assert schedulers() == f"{gateway.site}-blue-cron-1"
    gateway.deploy(2)
    assert schedulers() == f"{gateway.site}-green-cron-1"
    assert gateway.cli("status", gateway.site, "--json").final["slots"]["blue"]["problem"] == ""
    since = docker("exec", gateway.container, "date", "+%s")
    assert gateway.cli("rollback", gateway.site, "--json").code == 0
    assert (schedulers(), gateway.release()) == (f"{gateway.site}-blue-cron-1", "1")
    until = docker("exec", gateway.container, "date", "+%s")
    for name in ("worker", "clerk"):
        of = ("--filter", f"container={gateway.site}-green-{name}-1", "--filter", "event=die")
        died = docker(
            *("events", "--since", since, "--until", f"{int(until) + 1}", *of),
            *("--format", "{{.Actor.Attributes.exitCode}}"),
        )
        assert died == "7", name  # by itself, when it was told and had finished
