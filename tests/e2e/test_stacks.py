"""What people have in their compose files works in a slot."""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.gateways import APP, Gateway, docker, wait_for

pytestmark = pytest.mark.docker


def test_a_stack_with_all_that_people_have_in_theirs_is_deployed_replaced_and_taken_away(
    gateway: Gateway,
) -> None:
    """Volumes, networks, secrets, configs, a job before the start, the gateway's own network named."""
    (gateway.folder / "password").write_text("not for everyone")
    quick = {"entrypoint": ["python3", "-c", "pass"], "image": f"{APP}:1"}
    wait = {"image": f"{APP}:1", "stop_grace_period": "1s"}
    file = gateway.folder / "stack.yaml"
    model = yaml.safe_load(file.read_text())
    model["services"]["app"] |= {
        "volumes": ["data:/data"],
        "networks": ["default", "inner", "gateway"],
        "secrets": ["password"],
        "configs": [{"source": "greeting", "target": "/greeting"}],
        "depends_on": {
            "job": {"condition": "service_completed_successfully"},
            "worker": {"condition": "service_started"},
        },
    }
    model["services"] |= {"job": quick, "worker": wait | {"networks": ["inner"], "volumes": ["data:/data"]}}
    own = docker(
        "inspect",
        "-f",
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}",
        gateway.container,
    ).split()
    stacks = next(name for name in own if not name.endswith(("_control", "_docker")))
    model |= {
        "volumes": {"data": {}},
        "networks": {"inner": {"internal": True}, "gateway": {"external": True, "name": stacks}},
        "secrets": {"password": {"file": "./password"}},
        "configs": {"greeting": {"content": "hello"}},
    }
    file.write_text(yaml.safe_dump(model))
    for release in (1, 2):
        deployed = gateway.deploy(release)
        assert deployed.code == 0, deployed.err + deployed.out
        assert gateway.release() == str(release)
    app = next(name for name in gateway.containers() if name.startswith(f"{gateway.site}-green-app"))
    assert docker("exec", app, "cat", "/run/secrets/password") == "not for everyone"
    assert docker("exec", app, "cat", "/greeting") == "hello"
    assert gateway.cli("rollback", gateway.site).code == 0
    wait_for(lambda: gateway.phase() == "none", "green is gone")
    assert not [name for name in gateway.containers() if "-green-" in name]
