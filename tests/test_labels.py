"""What services ask of the gateway in their labels."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core import labels
from gateway.core.model import Deployment, Hook, Kind, Phase, Release, Site, Slot
from gateway.core.plan import Request, candidate, describe
from gateway.core.stack import for_hook, for_slot, problems, started_with_it

SITE = Site(name="shop", domains=("shop.test",), service="app", port=80, stack_file="/stacks/shop.yaml")


def services(**others: Any) -> dict[str, Any]:
    return {"app": {"image": "shop:1"}} | {name: {"image": "shop:1"} | s for name, s in others.items()}


def labelled(**own: str) -> dict[str, Any]:
    return {"labels": {f"gateway.{name.replace('__', '.')}": value for name, value in own.items()}}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"hook": "expnd"}, "did you mean expand?"),
        ({"hook": "before"}, "must be one of expand, pre-switch"),
        ({"hok": "expand"}, "did you mean gateway.hook?"),
        ({"site": "other"}, "none that the gateway knows"),
        ({"scheduler": "yes"}, "must be true or false"),
        ({"quiesce": "USR1"}, "did you mean SIGUSR1?"),
        ({"quiesce": "SIGKILL"}, "must be one of SIGHUP"),
        ({"quiesce__command": " "}, "must be a command line"),
        ({"quiesce": "SIGUSR1", "quiesce__command": "stop"}, "name one of them"),
        ({"quiesce__timeout_s": "5"}, "needs gateway.quiesce"),
        ({"quiesce": "SIGUSR1", "quiesce__timeout_s": "5m"}, "number of seconds"),
        ({"quiesce": "SIGUSR1", "quiesce__timeout_s": "86401"}, "number of seconds"),
        ({"hook": "expand", "scheduler": "true"}, "it runs to its end"),
        ({"scheduler": "true", "quiesce": "SIGUSR1"}, "stop_grace_period stop it"),
    ],
)
def test_a_wrong_label_is_refused_with_its_service_its_value_and_the_rule(
    own: dict[str, str], said: str
) -> None:
    (problem,) = labels.problems(services(worker=labelled(**own)), SITE)
    assert "'worker'" in problem
    assert said in problem


@pytest.mark.parametrize(
    "own",
    [
        {"hook": "pre-switch"},
        {"scheduler": "true"},
        {"scheduler": "false", "quiesce": "SIGTSTP"},
        {"quiesce__command": "stop --wait", "quiesce__timeout_s": "0.5"},
    ],
)
def test_a_right_label_is_no_problem(own: dict[str, str]) -> None:
    assert labels.problems(services(worker=labelled(**own)), SITE) == []


def test_all_wrong_labels_are_told_at_once_with_the_stacks_other_problems() -> None:
    wrong = services(a=labelled(hook="x"), b=labelled(scheduler="x")) | {"c": {}}
    assert len(problems({"services": wrong}, SITE, {})) == 3


@pytest.mark.parametrize("own", [{"hook": "expand"}, {"scheduler": "true"}, {"quiesce": "SIGUSR1"}])
def test_what_takes_the_traffic_takes_no_part_in_it(own: dict[str, str]) -> None:
    (problem,) = labels.problems({"app": labelled(**own)}, SITE)
    assert "takes the traffic" in problem


def test_a_hook_is_one_service() -> None:
    (problem,) = labels.problems(services(a=labelled(hook="expand"), b=labelled(hook="expand")), SITE)
    assert "'a' and 'b'" in problem


@pytest.mark.parametrize("own", [{"hook": "expand"}, {"scheduler": "true"}])
def test_nothing_waits_for_what_is_not_started_with_the_stack(own: dict[str, str]) -> None:
    waiting = {"depends_on": {"apart": {"condition": "service_started"}}}
    (problem,) = labels.problems(services(apart=labelled(**own), web=waiting), SITE)
    assert "'web' depends on 'apart'" in problem


def test_a_hook_waits_for_nothing() -> None:
    hook = labelled(hook="expand") | {"depends_on": {"db": {"condition": "service_healthy"}}}
    (problem,) = labels.problems(services(db={}, migrate=hook), SITE)
    assert "can't have depends_on (db)" in problem


HOOKED = Release(
    2,
    "shop",
    {
        "services": services(
            migrate=labelled(hook="expand") | {"restart": "always", "scale": 3, "deploy": {"replicas": 3}},
            tidy=labelled(hook="contract"),
            cron=labelled(scheduler="true") | {"restart": "always"},
        )
    },
    {},
)


def test_hooks_are_no_part_of_a_slot_and_schedulers_not_of_its_start() -> None:
    model = for_slot(HOOKED, SITE, Slot.BLUE)
    assert model["services"].keys() == {"app", "cron"}
    assert started_with_it(model) == ["app"]


def test_docker_does_not_start_a_scheduler_again_that_was_stopped() -> None:
    by_policy = labelled(scheduler="true") | {"deploy": {"restart_policy": {"condition": "any"}}}
    release = Release(1, "shop", {"services": services(a=labelled(scheduler="true"), b=by_policy)}, {})
    stored = for_slot(release, SITE, Slot.BLUE)["services"]
    assert for_slot(HOOKED, SITE, Slot.BLUE)["services"]["cron"]["restart"] == "unless-stopped"
    assert (stored["b"]["restart"], stored["b"]["deploy"]) == ("unless-stopped", {})
    assert "restart" not in stored["a"]


def test_a_hook_is_one_container_that_ends_and_says_whose_it_is() -> None:
    deployment = Deployment(7, "shop", Kind.DEPLOY, "r2", Slot.GREEN, "r1", Phase.EXPANDING, 0.0)
    model = for_hook(HOOKED, SITE, deployment, Hook.EXPAND)
    assert model["name"] == "shop-green"
    assert model["services"].keys() == {"migrate"}
    service = model["services"]["migrate"]
    assert (service["restart"], service["deploy"], "scale" in service) == ("no", {}, False)
    assert service["labels"] == {
        "gateway.hook": "expand",
        "gateway.deployment": "d7",
        "gateway.site": "shop",
        "gateway.slot": "green",
        "gateway.release": "r2",
    }


def test_a_plan_shows_the_hooks_where_they_are_run() -> None:
    deployment = candidate(SITE, HOOKED, Slot.BLUE, "r1", Request(), now=0.0)
    assert deployment.phase is Phase.EXPANDING
    lines = describe(SITE, deployment)
    assert lines[0].startswith("run the hook expand once (at most 600 s)")
    assert lines[-1].startswith("run the hook contract once")
    assert "no rollback to a release before r2" in lines[-1]


def test_a_rollback_runs_no_hooks() -> None:
    deployment = candidate(SITE, HOOKED, Slot.BLUE, "r3", Request(kind=Kind.ROLLBACK), now=0.0)
    assert (deployment.hooks, deployment.phase) == ((), Phase.STARTING)
