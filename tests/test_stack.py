"""A resolved compose model, made ready for a slot."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.adapters.containers import host_path
from gateway.core.model import Release, Replica, Site, Slot
from gateway.core.policy import broken, docker_ready, gone
from gateway.core.stack import diff, for_slot, has_order, is_image_reference, problems, warnings, with_images

SITE = Site(name="shop", domains=("shop.test",), service="app", port=80, stack_file="/stacks/shop.yaml")


def model(**service: Any) -> dict[str, Any]:
    return {
        "name": "gateway-candidate",
        "services": {"app": {"image": "shop:1"} | service},
        "networks": {
            "default": {"name": "gateway-candidate_default"},
            "db": {"external": True, "name": "db"},
        },
        "volumes": {"cache": {"name": "gateway-candidate_cache"}},
    }


def test_two_slots_never_share_a_port_a_name_or_a_network_of_their_own() -> None:
    stored = model(ports=[{"published": "80", "target": 80}], container_name="shop", build={"context": "."})
    blue = for_slot(Release(1, "shop", stored, {}), SITE, Slot.BLUE)
    assert blue["name"] == "shop-blue"
    assert not {"ports", "container_name", "build"} & blue["services"]["app"].keys()
    assert blue["networks"] == {"default": {}, "db": {"external": True, "name": "db"}}
    assert blue["volumes"] == {"cache": {}}
    assert blue["services"]["app"]["labels"]["gateway.release"] == "r1"
    assert stored["services"]["app"]["container_name"] == "shop"  # the stored release stays as it was


def test_every_problem_of_a_stack_is_told_at_once() -> None:
    bad = {"services": {"web": {"network_mode": "host"}}}
    found = problems(bad, SITE, {"db": "Not An Image"})
    assert len(found) == 5
    assert "no service 'app'" in found[0]


def test_a_volume_that_a_slot_would_make_for_itself_is_warned_of() -> None:
    assert len(warnings(model())) == 1
    assert warnings({"volumes": {"data": {"external": True, "name": "data"}}}) == []


@pytest.mark.parametrize("good", ["shop", "shop:2", "r.test:5000/a/b:v1.2", f"shop@sha256:{'a' * 64}"])
def test_an_image_reference_is_known(good: str) -> None:
    assert is_image_reference(good)


@pytest.mark.parametrize("bad", ["", "Shop", "shop:", "shop:a b", "shop;rm", "-x", "shop@sha256:12", "a//b"])
def test_what_is_no_image_reference_is_known(bad: str) -> None:
    assert not is_image_reference(bad)


def test_a_plan_shows_what_changes_and_nothing_else() -> None:
    assert diff(model(), with_images(model(), {"app": "shop:2"})) == ["services.app.image: shop:1 -> shop:2"]
    assert diff(model(), model()) == []


def test_a_plan_shows_which_values_change_that_may_be_secret_and_not_what_they_are() -> None:
    before, after = model(), model()
    before["services"]["app"]["environment"] = {"TOKEN": "old-secret", "GONE": "gone-secret"}
    after["services"]["app"]["environment"] = {"TOKEN": "new-secret"}
    after["secrets"] = {"key": {"content": "third-secret", "name": "key"}}
    assert diff(before, after) == [
        "secrets.key.content: (none) -> (not shown)",
        "secrets.key.name: (none) -> key",
        "services.app.environment.GONE: (not shown) -> (none)",
        "services.app.environment.TOKEN: (not shown) -> (not shown)",
    ]


def test_a_bind_mount_is_named_as_the_host_sees_it() -> None:
    mounts = [{"Destination": "/stacks", "Source": "/home/ann/shop"}, {"Destination": "/", "Source": "/x"}]
    assert host_path("/stacks/data", mounts) == "/home/ann/shop/data"
    assert host_path("/stacks", mounts) == "/home/ann/shop"
    assert host_path("/stacksother", mounts[:1]) == "/stacksother"


def replica(**facts: Any) -> Replica:
    base: dict[str, Any] = {
        "name": "shop-blue-app-1",
        "service": "app",
        "state": "running",
        "health": None,
        "exit_code": None,
        "oom_killed": False,
        "restarts": 0,
    }
    return Replica(**(base | facts))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"state": "exited", "exit_code": 3}, "exited with code 3"),
        ({"state": "exited", "exit_code": 137, "oom_killed": True}, "out of memory (exit code 137)"),
        ({"state": "exited", "exit_code": 137}, "exited with code 137 (killed, as when it is out of memory)"),
        ({"state": "restarting", "exit_code": 1}, "keeps restarting"),
        ({"restarts": 2}, "keeps restarting"),
        ({"health": "unhealthy"}, "unhealthy"),
        ({"state": "exited", "exit_code": 0}, "exited with code 0"),
    ],
)
def test_a_replica_that_cannot_serve_is_named_with_its_reason(facts: dict[str, Any], said: str) -> None:
    assert said in broken([replica(**facts)], "app")


def test_of_a_replica_that_is_out_of_memory_and_has_not_ended_yet_no_exit_code_is_told() -> None:
    assert broken([replica(oom_killed=True)], "app") == "shop-blue-app-1 was killed: out of memory"


def test_a_one_shot_service_that_ended_well_is_done_and_not_broken() -> None:
    migrate = replica(name="shop-blue-migrate-1", service="migrate", state="exited", exit_code=0)
    assert broken([replica(), migrate], "app") == ""
    assert "exited with code 1" in broken(
        [replica(), replica(service="migrate", state="exited", exit_code=1)], "app"
    )


def test_a_stack_is_ready_only_when_each_serving_container_is() -> None:
    assert docker_ready([replica(), replica(health="healthy")], "app")
    assert not docker_ready([replica(), replica(health="starting")], "app")
    assert not docker_ready([], "app")


def test_what_has_not_one_running_container_can_take_no_traffic_back() -> None:
    assert gone([], "app")
    assert gone([replica(state="exited", exit_code=137), replica(service="worker")], "app")
    assert not gone([replica(restarts=3), replica(state="exited")], "app")


def test_a_stack_whose_services_wait_for_one_another_is_left_to_compose() -> None:
    assert has_order({"services": {"app": {"depends_on": {"db": {}}}, "db": {}}})
    assert not has_order({"services": {"app": {}, "worker": {}}})
