"""What pages that are still open ask for, after a deploy and after the release before has gone."""

from __future__ import annotations

import pytest

from tests.e2e.gateways import Gateway, Start, wait_for

pytestmark = pytest.mark.docker


def asset(gateway: Gateway, release: int) -> tuple[int, str]:
    """The status, and the release whose answer it is."""
    answer = gateway.get(f"/assets/{release}")
    return answer.status_code, str(answer.json()["release"])


def test_an_asset_of_the_release_before_is_found_until_that_is_stopped(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_OLD_ASSETS="/assets/", GATEWAY_KEEP_S="3")
    assert gateway.deploy(1).code == 0
    assert asset(gateway, 2) == (404, "1")
    assert gateway.deploy(2).code == 0
    assert [asset(gateway, release) for release in (1, 2, 3)] == [(200, "1"), (200, "2"), (404, "2")]
    wait_for(lambda: gateway.phase() == "none", "the release before is stopped")
    assert [asset(gateway, release) for release in (1, 2)] == [(404, "2"), (200, "2")]
