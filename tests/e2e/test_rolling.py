"""A release whose replicas are replaced in batches, on the real thing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.e2e.gateways import Gateway, Start, docker, kill_the_daemon, wait_for
from tests.e2e.load import Load
from tests.e2e.stacks import with_service

pytestmark = [pytest.mark.docker, pytest.mark.first]
REPLICAS = 2


def rolls(start_gateway: Start, *, replicas: int = REPLICAS, **config: object) -> Gateway:
    """Release 1 is live, with so many replicas."""
    gateway = start_gateway(GATEWAY_STRATEGY="rolling", GATEWAY_MAX_5XX_SHARE="0.01")
    update = {"parallelism": 1, "monitor": "1s"} | config
    with_service(gateway, deploy={"replicas": replicas, "update_config": update})
    assert gateway.deploy(1, "--set", "BOOT_S=0.2").code == 0
    assert len(gateway.containers()) == replicas
    return gateway


@dataclass
class Counted:
    """How many containers of each slot ran, each time one looked."""

    seen: list[dict[str, int]] = field(default_factory=list)

    @property
    def most(self) -> int:
        return max(sum(one.values()) for one in self.seen)

    @property
    def fewest(self) -> int:
        return min(sum(one.values()) for one in self.seen)


@contextmanager
def counting(gateway: Gateway) -> Iterator[Counted]:
    counted, over = Counted(), threading.Event()

    def look() -> None:
        label = f"label=gateway.site={gateway.site}"
        while not over.wait(0.3):
            slots = docker("ps", "--filter", label, "--format", '{{.Label "gateway.slot"}}').split()
            counted.seen.append({slot: slots.count(slot) for slot in set(slots)})

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield counted
    finally:
        over.set()
        thread.join()


def in_slot(gateway: Gateway, slot: str, replicas: int = REPLICAS) -> list[str]:
    return [f"{gateway.site}-{slot}-app-{number}" for number in range(1, replicas + 1)]


@pytest.mark.parametrize(("order", "parallelism", "replicas"), [("start-first", 1, 2), ("stop-first", 2, 3)])
def test_replicas_are_replaced_in_batches_and_no_request_is_lost(
    start_gateway: Start, order: str, parallelism: int, replicas: int
) -> None:
    gateway = rolls(start_gateway, replicas=replicas, order=order, parallelism=parallelism)
    posts = Load(gateway, method="POST")
    with Load(gateway, many_visitors=True) as load, posts, counting(gateway) as counted:
        deployed = gateway.deploy(2, "--set", "BOOT_S=0.2")
        wait_for(lambda: gateway.phase() == "none", "the previous release is stopped")
    assert deployed.code == 0, deployed
    assert load.lost() + posts.lost() == []
    assert {what for _, what in load.answers} == {"1", "2"}
    assert (gateway.release(), gateway.containers()) == ("2", in_slot(gateway, "green", replicas))
    on_top = parallelism if order == "start-first" else 0
    assert counted.most <= replicas + on_top
    assert counted.fewest >= replicas - (0 if on_top else parallelism)


# The first replica starts, every other one ends at once.
ONE_STARTS = "mkdir /shared/one || exit 3; exec python3 -IS /app.py"


def only_one_starts(gateway: Gateway) -> None:
    (gateway.folder / "shared").mkdir()
    (gateway.folder / "shared").chmod(0o777)
    with_service(gateway, entrypoint=["sh", "-c", ONE_STARTS], volumes=["./shared:/shared"])


@pytest.mark.parametrize("order", ["start-first", "stop-first"])
def test_a_release_that_fails_after_its_first_batch_is_rolled_back_and_no_request_is_lost(
    start_gateway: Start, order: str
) -> None:
    gateway = rolls(start_gateway, order=order)
    only_one_starts(gateway)
    with Load(gateway, many_visitors=True) as load, counting(gateway) as counted:
        failed = gateway.deploy(2, "--set", "BOOT_S=0.2")
        wait_for(lambda: gateway.phase() == "none", "it is undone", timeout_s=60)
    assert failed.code == 1
    assert "with 2 replicas of it" in failed.final["reason"]
    assert "exited with code 3" in failed.final["reason"]
    assert load.lost() == []
    assert "2" in {what for _, what in load.answers}
    assert (gateway.release(), gateway.containers()) == ("1", in_slot(gateway, "blue"))
    assert counted.most <= REPLICAS + (order == "start-first")
    assert counted.fewest >= REPLICAS - (order == "stop-first")


@pytest.mark.own_gateway
def test_a_controller_that_is_killed_in_each_batch_goes_on_with_it(start_gateway: Start) -> None:
    gateway = rolls(start_gateway)
    with Load(gateway, many_visitors=True) as load, counting(gateway) as counted:
        gateway.deploy(2, "--set", "BOOT_S=0.2", "--detach")
        for number in range(2, REPLICAS + 1):
            name = f"{gateway.site}-green-app-{number}"
            wait_for(
                lambda name=name: gateway.phase() == "none" or name in gateway.containers(),
                f"{name} is made",
                timeout_s=60,
            )
            assert name in gateway.containers(), gateway.cli("history", gateway.site, "--json").out
            for part in gateway.parts:
                kill_the_daemon(part)
        wait_for(lambda: gateway.cli("status").code == 0 and gateway.phase() == "none", "done", timeout_s=120)
    assert load.lost() == []
    told = gateway.cli("history", gateway.site, "--json").out
    assert (gateway.release(), gateway.containers()) == ("2", in_slot(gateway, "green")), told
    assert counted.most <= REPLICAS + 1
    assert counted.fewest >= REPLICAS


def test_an_abort_half_way_leads_back_and_a_rollback_rolls(start_gateway: Start) -> None:
    gateway = rolls(start_gateway, replicas=2)
    with Load(gateway, many_visitors=True) as load, counting(gateway) as counted:
        gateway.deploy(2, "--set", "BOOT_S=0.2", "--detach")
        second = f"{gateway.site}-green-app-2"
        wait_for(lambda: second in gateway.containers(), "the second batch begins", timeout_s=60)
        assert gateway.cli("abort", gateway.site, "--json").code == 0
        assert (gateway.release(), gateway.containers()) == ("1", in_slot(gateway, "blue", 2))
        assert gateway.deploy(3, "--set", "BOOT_S=0.2").code == 0
        wait_for(lambda: gateway.phase() == "none", "release 3 is alone")
        assert gateway.cli("rollback", gateway.site, "--json").code == 0
        wait_for(lambda: gateway.phase() == "none", "release 1 is alone")
    assert load.lost() == []
    assert (gateway.release(), gateway.containers()) == ("1", in_slot(gateway, "blue", 2))
    assert (counted.most, counted.fewest) == (3, 2)


def test_a_failed_batch_can_wait_for_a_person_who_goes_on(start_gateway: Start) -> None:
    gateway = rolls(start_gateway, replicas=3, failure_action="pause")
    only_one_starts(gateway)
    with Load(gateway, many_visitors=True) as load:
        paused = gateway.deploy(2, "--set", "BOOT_S=0.2")
        assert (paused.code, paused.final["phase"]) == (4, "paused")
        assert f"`gateway switch {gateway.site}` goes on" in paused.err
        again = gateway.cli("switch", gateway.site, "--json")
        assert (again.code, again.final["phase"]) == (4, "paused")
        (gateway.folder / "shared" / "one").rmdir()
        docker("update", "--restart", "no", f"{gateway.site}-green-app-1")
        assert gateway.cli("switch", gateway.site, "--json").code == 4  # the third one ends, too
        assert gateway.cli("abort", gateway.site, "--json").code == 0
    assert load.lost() == []
    assert (gateway.release(), gateway.containers()) == ("1", in_slot(gateway, "blue", 3))


def test_a_rollout_goes_on_without_the_replicas_that_may_fail_and_nobody_is_sent_to_them(
    start_gateway: Start,
) -> None:
    gateway = rolls(start_gateway, max_failure_ratio=0.5)
    only_one_starts(gateway)
    with Load(gateway, many_visitors=True) as load:
        deployed = gateway.deploy(2, "--set", "BOOT_S=0.2")
        wait_for(lambda: gateway.phase() == "none", "the previous release is stopped", timeout_s=60)
    assert deployed.code == 0, deployed
    assert load.lost() == []
    assert (gateway.release(), gateway.containers()) == ("2", in_slot(gateway, "green"))
    _, second = in_slot(gateway, "green")
    shown = gateway.cli("status", gateway.site, "--json").final["slots"]["green"]["problem"]
    assert shown == f"set aside as failed: {second}"


def test_a_plan_names_the_batches(start_gateway: Start) -> None:
    gateway = rolls(start_gateway, replicas=3)
    plan = gateway.cli("plan", gateway.site, "--json").final
    assert [step for step in plan["steps"] if "visitors" in step] == [
        "send 25 % of the visitors to r2; watch it",
        "send 33 % of the visitors to r2; drain r1 down to 2 replicas",
        "start up to 2 replicas of r2; send 50 % of the visitors to r2; watch it",
        "send 67 % of the visitors to r2; drain r1 down to 1 replicas",
        "start up to 3 replicas of r2; send 75 % of the visitors to r2; watch it",
    ]


def test_what_was_not_started_to_be_rolled_is_replaced_all_at_once_and_the_plan_says_so(
    start_gateway: Start,
) -> None:
    gateway = rolls(start_gateway, replicas=3)
    docker("rm", "-f", f"{gateway.site}-blue-app-2")
    plan = gateway.cli("plan", gateway.site, "--json").final
    assert any("all at once" in warning for warning in plan["warnings"])
    assert gateway.deploy(2, "--set", "BOOT_S=0.2").code == 0
    assert gateway.release() == "2"
