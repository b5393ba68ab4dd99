"""A staged release, seen before anybody else comes to it."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.gateways import Gateway, Start

pytestmark = pytest.mark.docker
TOKEN = "only-for-those-who-review-this-release"


def seen(gateway: Gateway, token: str) -> str:
    headers = {"Host": gateway.domain, "X-Gateway-Preview": token}
    answer = httpx.get(f"http://127.0.0.1:{gateway.port}/", headers=headers, timeout=30)
    return str(answer.json()["release"]) if answer.status_code == 200 else f"HTTP {answer.status_code}"


@pytest.mark.own_gateway
def test_a_staged_release_is_seen_with_the_token_until_it_is_live_or_undone(start_gateway: Start) -> None:
    gateway = start_gateway(GATEWAY_PREVIEW_TOKEN_FILE="/stacks/preview-token")
    (gateway.folder / "preview-token").write_text(TOKEN)
    (gateway.folder / "preview-token").chmod(0o644)
    assert gateway.deploy(1).code == 0
    assert seen(gateway, TOKEN) == "HTTP 404"
    assert gateway.deploy(2, "--stage").code == 0
    assert (seen(gateway, TOKEN), seen(gateway, "x" * 40), gateway.release()) == ("2", "HTTP 403", "1")
    assert gateway.cli("abort", gateway.site).code == 0
    assert (seen(gateway, TOKEN), gateway.release()) == ("HTTP 404", "1")
    assert gateway.deploy(3, "--stage").code == 0
    assert seen(gateway, TOKEN) == "3"
    assert gateway.cli("switch", gateway.site).code == 0
    assert (seen(gateway, TOKEN), gateway.release()) == ("HTTP 404", "3")
