"""What is exported for Kubernetes is what the published schemas know, and says what the stack says."""

from __future__ import annotations

import json
import subprocess
import tarfile
from dataclasses import replace
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from gateway.core.kubernetes import Exported, export
from gateway.core.model import Release, Site, Slot
from tests.simulation import SITE

GATEWAY_API = "@kubernetes-models/gateway-api@0.5.1"  # the schemas of the published definitions
WHOLE: dict[str, Any] = {
    "services": {
        "app": {
            "image": "shop:2",
            "entrypoint": ["/bin/shop"],
            "command": ["--fast"],
            "environment": {"LEVEL": "info", "EMPTY": None},
            "healthcheck": {"test": ["CMD", "/check"], "interval": "2s", "timeout": "1m30s", "retries": 2},
            "deploy": {"replicas": 3, "resources": {"limits": {"cpus": 0.5, "memory": "67108864"}}},
            "stop_grace_period": "20s",
            "user": "1000:1000",
            "read_only": True,
            "cap_drop": ["ALL"],
            "volumes": [
                {"type": "volume", "source": "data", "target": "/data"},
                {"type": "tmpfs", "target": "/tmp"},
                {"type": "bind", "source": "/etc/shop", "target": "/etc/shop"},
            ],
            "secrets": [{"source": "db_token", "target": "token"}],
        },
        "redis": {"image": "redis:7", "sysctls": {"net.core.somaxconn": 1024}},
        "migrate": {"image": "shop:2", "command": ["migrate"], "labels": {"gateway.hook": "expand"}},
        "tidy": {"image": "shop:2", "labels": {"gateway.hook": "contract"}},
        "cron": {"image": "shop:2", "labels": {"gateway.scheduler": "true"}},
    },
    "volumes": {"data": {"name": "gateway-candidate_data"}},
}


def exported(site: Site = SITE, slot: Slot = Slot.GREEN, share: int = 10) -> Exported:
    return export(site, Release(2, site.name, WHOLE, {}), slot, share=share, parent="public")


def of(found: Exported, kind: str, name: str) -> dict[str, Any]:
    [one] = [m for m in found.manifests if m["kind"] == kind and m["metadata"]["name"] == name]
    return one


@pytest.fixture(scope="session")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of the Gateway API, by kind."""
    folder = tmp_path_factory.mktemp("schemas")
    subprocess.run(["npm", "pack", "--silent", GATEWAY_API], cwd=folder, check=True, capture_output=True)
    [packed] = folder.glob("*.tgz")
    found = {}
    with tarfile.open(packed) as tar:
        for kind, version in (("HTTPRoute", "v1"), ("ReferenceGrant", "v1beta1")):
            file = tar.extractfile(f"package/gateway.networking.k8s.io/{version}/{kind}.js")
            assert file is not None
            _, _, after = file.read().decode().partition("const schema = ")
            schema, _ = json.JSONDecoder().raw_decode(after)
            del schema["properties"]["metadata"]  # refers to Kubernetes' own
            found[kind] = closed(schema)
    return found


def closed(schema: Any) -> Any:
    """As the API server takes it: what a schema does not name is not known."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {key: closed(value) for key, value in schema.items()}
    properties = schema.get("properties")
    return (
        whole | {"additionalProperties": False}
        if isinstance(properties, dict) and "type" in schema
        else whole
    )


def checked(manifest: dict[str, Any], schemas: dict[str, Any]) -> None:
    if schema := schemas.get(manifest["kind"]):
        jsonschema.validate({k: v for k, v in manifest.items() if k != "metadata"}, schema)
    else:
        kubernetes_validate.validate(manifest, "1.33", strict=True)


@pytest.mark.parametrize("site", [SITE, replace(SITE, path="/blog")], ids=["whole", "path"])
@pytest.mark.parametrize("share", [0, 10, 100])
def test_every_manifest_is_valid(site: Site, share: int, schemas: dict[str, Any]) -> None:
    kinds = set()
    for manifest in exported(site, share=share).manifests:
        checked(manifest, schemas)
        kinds.add(manifest["kind"])
    assert {"Deployment", "Service", "HTTPRoute", "ReferenceGrant", "Job", "Namespace"} <= kinds


@pytest.mark.parametrize("kind", ["HTTPRoute", "Deployment"])
def test_the_check_finds_a_word_that_the_schema_does_not_know(kind: str, schemas: dict[str, Any]) -> None:
    wrong = next(m for m in exported().manifests if m["kind"] == kind)
    wrong["spec"]["nonsense"] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        checked(wrong, schemas)


def test_the_route_shares_the_visitors_between_the_slots() -> None:
    [rule] = of(exported(share=10), "HTTPRoute", "shop")["spec"]["rules"]
    weights = {backend["namespace"]: backend["weight"] for backend in rule["backendRefs"]}
    assert weights == {"shop-green": 10, "shop-blue": 90}
    [rule] = of(exported(share=100), "HTTPRoute", "shop")["spec"]["rules"]
    assert [backend["namespace"] for backend in rule["backendRefs"]] == ["shop-green"]


def test_the_serving_service_is_probed_and_leaves_before_it_stops() -> None:
    pod = of(exported(), "Deployment", "app")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["readinessProbe"] == {
        "exec": {"command": ["/check"]},
        "periodSeconds": 2,
        "timeoutSeconds": 90,
        "failureThreshold": 2,
    }
    assert container["command"] == ["/bin/shop"]
    assert container["args"] == ["--fast"]
    assert pod["terminationGracePeriodSeconds"] == 20 + 5 + round(SITE.drain_timeout_s)
    assert of(exported(), "Deployment", "app")["spec"]["replicas"] == 3


def test_the_expand_hook_is_a_job_that_runs_once() -> None:
    job = of(exported(), "Job", "migrate-r2")["spec"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never"


WARNINGS = {
    "bind": "the bind mount /etc/shop is left out",
    "other hook": "the hook contract has no equivalent",
    "scheduler": "service 'cron' is to run in the live slot alone",
    "unknown": "service 'redis': sysctls is left out",
    "secret": "make the secret 'db-token' with the key 'db_token'",
    "size": "volume 'data': say how large",
}


@pytest.mark.parametrize("text", WARNINGS.values(), ids=WARNINGS)
def test_what_is_left_to_the_reader_is_said(text: str) -> None:
    assert any(text in warning for warning in exported().warnings)
