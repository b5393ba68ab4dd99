"""A stack's model as Swarm gets it: pure decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core import stack, swarm
from gateway.core.model import Deployment, Hook, Kind, Phase, Release, Site, Slot, Strategy

SITE = Site("shop", ("shop.test",), "app", 80, "/s.yaml")


def deployed(network: str = "gw", **service: Any) -> dict[str, Any]:
    """The stack's file of a release whose only service has these keys."""
    model = {"services": {"app": {"image": "shop:1"} | service}, "networks": {"default": {"name": None}}}
    model = stack.for_slot(Release(1, "shop", model, {}), SITE, Slot.BLUE)
    return swarm.stack_file(model, "app", stack.alias(SITE, Slot.BLUE), network)


def serving(**service: Any) -> dict[str, Any]:
    found: dict[str, Any] = deployed(**service)["services"]["shop-blue"]
    return found


def test_nginx_finds_the_slot_on_the_gateway_s_network_and_the_stack_its_service_on_its_own() -> None:
    """Swarm adds a service's name to its aliases in each network: that one is the slot's."""
    file = deployed()
    assert file["services"].keys() == {"shop-blue"}
    assert file["services"]["shop-blue"]["networks"] == {
        "default": {"aliases": ["app"]},
        swarm.GATEWAY: {},
    }
    assert file["networks"][swarm.GATEWAY] == {"name": "gw", "external": True}


def test_a_service_s_own_networks_and_aliases_stay() -> None:
    said = {"networks": {"back": None, "front": {"aliases": ["www"]}}}
    assert serving(**said)["networks"] == {
        "back": {"aliases": ["app"]},
        "front": {"aliases": ["www", "app"]},
        swarm.GATEWAY: {},
    }


def test_a_network_is_not_named_as_compose_names_that_of_the_same_site_and_one_that_is_named_stays() -> None:
    """A machine that becomes a Swarm's first one may still run the site by Compose."""
    model = {
        "services": {"app": {"image": "shop:1"}},
        "networks": {"default": None, "data": {"name": "data", "external": True}},
    }
    networks = swarm.stack_file(model, "app", "shop-blue", "gw")["networks"]
    assert networks["default"] == {"name": "shop-blue_default_swarm"}
    assert networks["data"] == {"name": "data", "external": True}


def test_other_services_keep_their_names_and_are_not_on_the_gateway_s_network() -> None:
    model = {"services": {"app": {"image": "a:1"}, "db": {"image": "b:1", "networks": {"default": None}}}}
    model = stack.for_slot(Release(1, "shop", model, {}), SITE, Slot.GREEN)
    found = swarm.stack_file(model, "app", "shop-green", "gw")["services"]
    assert found["db"]["networks"] == {"default": None}
    assert found["db"]["deploy"]["labels"]["gateway.service"] == "db"


def test_no_service_has_a_virtual_address() -> None:
    assert serving(deploy={"endpoint_mode": "vip"})["deploy"]["endpoint_mode"] == "dnsrr"


def test_services_are_labelled_so_that_a_manager_finds_them() -> None:
    labels = serving(labels={"team": "a"}, deploy={"labels": {"tier": "b"}})["deploy"]["labels"]
    assert labels == {
        "team": "a",
        "tier": "b",
        "gateway.site": "shop",
        "gateway.slot": "blue",
        "gateway.release": "r1",
        "gateway.service": "app",
    }


@pytest.mark.parametrize(
    ("said", "condition"),
    [
        ({}, "any"),
        ({"restart": "no"}, "none"),
        ({"restart": "on-failure:3"}, "on-failure"),
        ({"restart": "unless-stopped"}, "any"),
        ({"restart": "no", "deploy": {"restart_policy": {"condition": "any"}}}, "any"),
    ],
)
def test_a_restart_policy_is_swarm_s_word_for_it(said: dict[str, Any], condition: str) -> None:
    assert serving(**said)["deploy"]["restart_policy"]["condition"] == condition


def test_what_compose_writes_in_another_form_is_written_in_swarm_s() -> None:
    found = serving(
        scale=3,
        command=None,
        deploy={"resources": {"limits": {"cpus": 0.5, "memory": "64"}}, "replicas": None},
        volumes=[
            {"type": "bind", "source": "/a", "target": "/b", "bind": {"create_host_path": True}},
            {"type": "volume", "source": "v", "target": "/v", "volume": {}},
        ],
        extra_hosts=["db=10.0.0.1"],
    )
    assert found["deploy"]["replicas"] == 3
    assert found["deploy"]["resources"]["limits"] == {"cpus": "0.5", "memory": "64"}
    assert found["volumes"][0] == {"type": "bind", "source": "/a", "target": "/b"}
    assert found["extra_hosts"] == ["db:10.0.0.1"]
    assert "command" not in found


@pytest.mark.parametrize(
    ("service", "problem"),
    [
        ({"privileged": True}, "privileged is not known to Swarm"),
        ({"network_mode": "service:db"}, "network_mode is not known to Swarm"),
        ({"labels": {"gateway.quiesce.command": "x"}}, "label gateway.quiesce.command: a manager can't"),
        ({"deploy": {"mode": "replicated-job"}}, "deploy.mode='replicated-job' must be"),
    ],
)
def test_what_swarm_would_leave_out_is_told(service: dict[str, Any], problem: str) -> None:
    (found,) = swarm.problems({"services": {"app": {"image": "a:1"} | service}}, SITE)
    assert found.startswith("service 'app': ")
    assert problem in found


@pytest.mark.parametrize("service", [{}, {"privileged": False}, {"depends_on": {"db": {}}}, {"ports": [1]}])
def test_what_swarm_does_in_its_own_way_is_no_problem(service: dict[str, Any]) -> None:
    assert swarm.problems({"services": {"app": {"image": "a:1"} | service}}, SITE) == []


def test_a_replica_that_can_be_told_apart_is_a_service_of_its_own_with_its_names() -> None:
    model = {"services": {"app": {"image": "shop:1", "deploy": {"replicas": 3}}}}
    model = stack.for_slot(Release(1, "shop", model, {}), SITE, Slot.BLUE)
    replicas = {1: swarm.Replica(["part-1", "part-2"]), 2: swarm.Replica(["part-2"], aside=True)}
    found = swarm.stack_file(model, "app", "shop-blue", "gw", replicas)["services"]
    assert found.keys() == {"shop-blue-1", "shop-blue-2"}
    assert [service["deploy"]["replicas"] for service in found.values()] == [1, 0]
    assert [service["networks"][swarm.GATEWAY]["aliases"] for service in found.values()] == [
        ["shop-blue", "part-1", "part-2"],
        ["shop-blue", "part-2"],
    ]
    assert [service["deploy"]["labels"]["gateway.number"] for service in found.values()] == ["1", "2"]


def test_a_rolling_site_on_every_node_and_a_secret_from_nowhere_are_told_at_once() -> None:
    services = {"app": {"image": "shop:1", "deploy": {"mode": "global"}}}
    model = {"services": services, "secrets": {"key": {"environment": "KEY"}, "cert": {"file": "/c"}}}
    found = swarm.problems(model, replace(SITE, strategy=Strategy.ROLLING))
    assert [one.split(":")[0] for one in found] == ["service 'app'", "secrets.key"]


def test_a_hook_runs_to_its_end_once_and_is_found_by_nobody() -> None:
    model = {
        "services": {"app": {"image": "a:1"}, "up": {"image": "a:1", "labels": {"gateway.hook": "expand"}}}
    }
    deployment = Deployment(3, "shop", Kind.DEPLOY, "r1", Slot.BLUE, None, Phase.EXPANDING, 0.0)
    hook = stack.for_hook(Release(1, "shop", model, {}), SITE, deployment, Hook.EXPAND)
    file = swarm.stack_file(hook, "app", "shop-blue", "gw")
    assert file["services"].keys() == {"up"}
    deploy = file["services"]["up"]["deploy"]
    assert (deploy["mode"], deploy["replicas"]) == ("replicated", 1)
    assert deploy["restart_policy"] == {"condition": "none", "max_attempts": 1}
    assert swarm.GATEWAY not in (file.get("networks") or {})


def test_a_worker_is_stopped_by_the_signal_that_quiesces_it() -> None:
    found = serving(labels={"gateway.quiesce": "SIGUSR1", "gateway.quiesce.timeout_s": "20"})
    assert (found["stop_signal"], found["stop_grace_period"]) == ("SIGUSR1", "20s")
