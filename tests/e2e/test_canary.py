"""A candidate that gets its visitors in steps, on the real thing."""

from __future__ import annotations

import pytest

from tests.e2e.gateways import Start, wait_for
from tests.e2e.load import Load

pytestmark = pytest.mark.docker


def test_a_good_candidate_gets_its_visitors_step_by_step_and_loses_none(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_CANARY_STEPS="10,50,100", GATEWAY_CANARY_STEP_S="2")
    gateway.deploy(1)
    with Load(gateway, many_visitors=True) as load:
        deployed = gateway.deploy(2)
    assert deployed.code == 0
    assert load.lost() == []
    phases = [entry["phase"] for entry in deployed.final["timeline"]]
    assert phases.count("stepping") == 2
    answers = [what for _, what in sorted(load.answers)]
    both = answers[answers.index("2") : len(answers) - answers[::-1].index("1")]
    assert 0.05 < both.count("2") / len(both) < 0.6
    assert set(answers[-20:]) == {"2"}


def test_a_candidate_that_answers_five_percent_errors_is_caught_at_its_first_step(
    start_gateway: Start,
) -> None:
    gateway = start_gateway(
        GATEWAY_CANARY_STEPS="10", GATEWAY_CANARY_STEP_S="60", GATEWAY_MAX_5XX_SHARE="0.01"
    )
    gateway.deploy(1)
    with Load(gateway, many_visitors=True) as load:
        result = gateway.deploy(2, "--set", "MODE=flaky")
    assert result.code == 1
    assert "at 10 % of the visitors" in result.final["reason"]
    assert "answers were 5xx" in result.final["reason"]
    assert "the live release 0 of" in result.final["reason"]
    failed = load.lost()
    assert 0 < len(failed) < 0.02 * len(load.answers)
    assert set(failed) == {"HTTP 500"}
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_a_step_can_be_left_by_a_rollback(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_CANARY_STEPS="50", GATEWAY_CANARY_STEP_S="60")
    gateway.deploy(1)
    with Load(gateway, many_visitors=True) as load:
        gateway.deploy(2, "--detach")
        wait_for(lambda: gateway.phase() == "stepping", "it steps")
        assert gateway.cli("rollback", gateway.site, "--json").code == 0
    assert load.lost() == []
    assert (gateway.release(), gateway.containers()) == ("1", [f"{gateway.site}-blue-app-1"])


def test_a_plan_names_the_steps(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_CANARY_STEPS="10,50")
    gateway.deploy(1)
    plan = gateway.cli("plan", gateway.site, "--json").final
    assert [step for step in plan["steps"] if "% of the visitors" in step] == [
        "send 10 % of the visitors to r2; watch them for 60 s",
        "send 50 % of the visitors to r2; watch them for 60 s",
    ]
