"""Facts of secrets, on a real engine: where they are, and where they are not."""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.gateways import Gateway, docker
from tests.e2e.stacks import with_service

pytestmark = [pytest.mark.docker, pytest.mark.own_gateway]


def told(gateway: Gateway, *plan: str) -> str:
    """Everything that people and logs are told, and what Docker tells of the gateway."""
    looks = (("plan", *plan), ("status",), ("history",))
    said = [
        gateway.cli(verb, gateway.site, *more, *form) for verb, *more in looks for form in ((), ("--json",))
    ]
    assert {each.code for each in said} == {0}
    container = docker("inspect", gateway.container) + docker("exec", gateway.container, "env")
    return "".join(each.out + each.err for each in said) + docker("logs", gateway.container) + container


def test_a_value_from_a_file_reaches_the_stack_and_is_told_nowhere(gateway: Gateway) -> None:
    with_service(gateway, environment={"TOKEN": "${TOKEN}"})
    (gateway.folder / "first").write_text("first-secret\n")
    (gateway.folder / "second").write_text("second-secret")
    assert gateway.deploy(1, "--set-file", f"TOKEN={gateway.folder}/first").code == 0
    (app,) = gateway.containers()
    assert docker("exec", app, "printenv", "TOKEN") == "first-secret"
    seen = told(gateway, "--set-file", f"TOKEN={gateway.folder}/second")
    assert "services.app.environment.TOKEN: (not shown) -> (not shown)" in seen
    assert "-secret" not in seen


def test_a_secret_s_file_beside_the_stack_file_is_there_in_both_slots_and_in_no_environment(
    gateway: Gateway,
) -> None:
    (gateway.folder / "token").write_text("file-secret")
    with_service(gateway, secrets=["token"])
    file = gateway.folder / "stack.yaml"
    file.write_text(
        yaml.safe_dump(yaml.safe_load(file.read_text()) | {"secrets": {"token": {"file": "./token"}}})
    )
    for release in (1, 2):
        assert gateway.deploy(release).code == 0
    apps = gateway.containers()
    assert len(apps) == 2
    for app in apps:
        assert docker("exec", app, "cat", "/run/secrets/token") == "file-secret"
    assert "file-secret" not in told(gateway) + docker("inspect", *apps)
