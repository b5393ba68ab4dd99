"""A release as manifests for Kubernetes: a slot becomes a namespace, the routing an HTTPRoute. Pure.

A namespace a slot, because a stack's services find one another by their names. HTTPRoute and ReferenceGrant
are those of the Gateway API (https://gateway-api.sigs.k8s.io/reference/spec/).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.core import labels, rolling, stack
from gateway.core.model import Hook, Release, Site, Slot

Manifest = dict[str, Any]
# A pod gets new requests for a moment after it was told to stop: endpoints are taken away at the same time,
# not before (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination).
LEAVES_ENDPOINTS_S = 5
GRACE_S = 10  # Docker's own, where the service says nothing
_TAKEN = frozenset((
    *("image", "command", "entrypoint", "environment", "healthcheck", "deploy", "scale", "labels"),
    *("networks", "restart", "stop_grace_period", "user", "read_only", "cap_add", "cap_drop", "volumes"),
    *("working_dir", "expose", "ports", "container_name", "build", "pull_policy", "tty", "stdin_open"),
    *("secrets", "configs"),
))  # fmt: skip
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Exported:
    """`warnings`: what the manifests leave to their reader."""

    manifests: list[Manifest] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def export(site: Site, release: Release, slot: Slot, *, share: int, parent: str) -> Exported:
    """`share`: percent of the visitors that the slot gets; `parent`: the Gateway that the route is of."""
    found = Exported()
    model = stack.for_slot(release, site, slot)
    space = stack.project(site, slot)
    found.manifests.append(_object("v1", "Namespace", space, ""))
    for name, claim in (model.get("volumes") or {}).items():
        found.manifests.append(_claim(name, claim or {}, space, found))
    hook = labels.hooks(release.stack["services"]).get(Hook.EXPAND)
    if hook:
        found.manifests.append(_job(site, release, hook, space, found))
    for other in sorted(labels.hooks(release.stack["services"]).keys() - {Hook.EXPAND}):
        found.warnings.append(f"the hook {other} has no equivalent: run it as a Job when its moment comes")
    for name, service in model["services"].items():
        found.manifests.extend(_workload(site, name, service, space, found))
    found.manifests.extend(_routes(site, space, slot, share=share, parent=parent))
    if site.redirects:
        found.warnings.append("redirects between its domains are left out: write an HTTPRoute for them")
    return found


def _object(api: str, kind: str, name: str, space: str, **more: Any) -> Manifest:
    metadata = {"name": name} | ({"namespace": space} if space else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def _workload(site: Site, name: str, service: Any, space: str, found: Exported) -> Iterator[Manifest]:
    if not _NAME.fullmatch(name):
        found.warnings.append(f"service {name!r}: is no name for Kubernetes ({_NAME.pattern})")
    for key in sorted(service.keys() - _TAKEN):
        if service[key] not in (None, False, [], {}):
            found.warnings.append(f"service {name!r}: {key} is left out")
    serves = name == site.service
    pod = _pod(name, service, found)
    if serves:
        container = pod["containers"][0]
        container["ports"] = [{"containerPort": site.port}]
        container.setdefault("readinessProbe", _http_probe(site))
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVES_ENDPOINTS_S}}}
        pod["terminationGracePeriodSeconds"] += LEAVES_ENDPOINTS_S + round(site.drain_timeout_s)
    labelled = {"app": name}
    spec: Manifest = {
        "replicas": rolling.replicas(service),
        "selector": {"matchLabels": labelled},
        "template": {"metadata": {"labels": labelled}, "spec": pod},
    }
    if labels.of(service).get(labels.SCHEDULER) == "true":
        spec["strategy"] = {"type": "Recreate"}
        found.warnings.append(f"service {name!r} is to run in the live slot alone: scale the other's to 0")
    yield _object("apps/v1", "Deployment", name, space, spec=spec)
    port = site.port if serves else None
    known: Manifest = {"ports": [{"port": port}]} if port else {"clusterIP": "None"}
    yield _object("v1", "Service", name, space, spec={"selector": labelled, **known})


def _job(site: Site, release: Release, name: str, space: str, found: Exported) -> Manifest:
    pod = _pod(name, release.stack["services"][name], found)
    pod["restartPolicy"] = "Never"
    spec = {
        "backoffLimit": 0,  # run once, as here: whether it may be repeated nobody knows
        "activeDeadlineSeconds": round(site.hook_timeout_s),
        "template": {"spec": pod},
    }
    return _object("batch/v1", "Job", f"{name}-{release.id}", space, spec=spec)


def _pod(name: str, service: Any, found: Exported) -> Manifest:
    container: Manifest = {"name": name, "image": service["image"]}
    for ours, theirs in (("entrypoint", "command"), ("command", "args")):
        if service.get(ours):
            container[theirs] = list(service[ours])
    if service.get("working_dir"):
        container["workingDir"] = service["working_dir"]
    if environment := service.get("environment"):
        container["env"] = [{"name": key, "value": str(value or "")} for key, value in environment.items()]
    if resources := _resources(service):
        container["resources"] = resources
    if security := _security(service):
        container["securityContext"] = security
    if probe := _exec_probe(service.get("healthcheck") or {}):
        container["readinessProbe"] = probe
    mounts, volumes = _mounts(name, service, found)
    if mounts:
        container["volumeMounts"] = mounts
    pod: Manifest = {"containers": [container]}
    if volumes:
        pod["volumes"] = volumes
    pod["terminationGracePeriodSeconds"] = round(_seconds(service.get("stop_grace_period"), GRACE_S))
    return pod


def _mounts(name: str, service: Any, found: Exported) -> tuple[list[Manifest], list[Manifest]]:
    mounts: list[Manifest] = []
    volumes: list[Manifest] = []
    for number, volume in enumerate(service.get("volumes") or []):
        key = f"volume-{number}"
        if volume["type"] == "bind":
            found.warnings.append(
                f"service {name!r}: the bind mount {volume['source']} is left out: make it a ConfigMap"
                " or a volume"
            )
            continue
        named = {"persistentVolumeClaim": {"claimName": volume.get("source")}}
        volumes.append({"name": key} | (named if volume["type"] == "volume" else {"emptyDir": {}}))
        mounts.append({"name": key, "mountPath": volume["target"]})
    for kind, holder in (("secrets", "secret"), ("configs", "configMap")):
        for one in service.get(kind) or []:
            source, own = str(one["source"]), "secretName" if holder == "secret" else "name"
            target = one.get("target") or source
            path = target if target.startswith("/") else f"/run/secrets/{target}"
            called = _called(source)
            volumes.append({"name": f"{holder.lower()}-{called}", holder: {own: called}})
            mounts.append({"name": f"{holder.lower()}-{called}", "mountPath": path, "subPath": source})
            found.warnings.append(f"make the {holder} {called!r} with the key {source!r} in each namespace")
    return mounts, volumes


def _claim(name: str, volume: Mapping[str, Any], space: str, found: Exported) -> Manifest:
    if volume.get("external"):
        found.warnings.append(f"volume {name!r} is shared by both slots: a claim belongs to one namespace")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    found.warnings.append(f"volume {name!r}: say how large it is to be (1Gi)")
    return _object("v1", "PersistentVolumeClaim", name, space, spec=spec)


def _routes(site: Site, space: str, slot: Slot, *, share: int, parent: str) -> Iterator[Manifest]:
    """All of the site's visitors: `share` percent to the slot, the others to the other one."""
    weights = {slot: share, slot.other: 100 - share}
    backends = [
        {"name": site.service, "namespace": stack.project(site, each), "port": site.port, "weight": weight}
        for each, weight in weights.items()
        if weight
    ]
    rule: Manifest = {"backendRefs": backends}
    if site.path not in (None, "/"):
        rule["matches"] = [{"path": {"type": "PathPrefix", "value": site.path}}]
    route = {"parentRefs": [{"name": parent}], "hostnames": list(site.domains), "rules": [rule]}
    yield _object("gateway.networking.k8s.io/v1", "HTTPRoute", site.name, "default", spec=route)
    group = "gateway.networking.k8s.io"
    grant = {
        "from": [{"group": group, "kind": "HTTPRoute", "namespace": "default"}],
        "to": [{"group": "", "kind": "Service", "name": site.service}],
    }
    yield _object(f"{group}/v1beta1", "ReferenceGrant", site.name, space, spec=grant)


def _http_probe(site: Site) -> Manifest:
    path = site.probe.path
    return {
        "httpGet": {"path": path, "port": site.port},
        "periodSeconds": max(1, round(site.probe.interval_s)),
        "timeoutSeconds": max(1, round(site.probe.timeout_s)),
        "successThreshold": site.probe.successes,
    }


def _exec_probe(check: Mapping[str, Any]) -> Manifest | None:
    test = list(check.get("test") or [])
    if check.get("disable") or not test or test[0] == "NONE":
        return None
    command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[-1]]
    return {
        "exec": {"command": command},
        "periodSeconds": max(1, round(_seconds(check.get("interval"), 30))),
        "timeoutSeconds": max(1, round(_seconds(check.get("timeout"), 30))),
        "failureThreshold": int(check.get("retries") or 3),
    }


def _resources(service: Any) -> Manifest:
    said = (service.get("deploy") or {}).get("resources") or {}
    found: Manifest = {}
    for ours, theirs in (("limits", "limits"), ("reservations", "requests")):
        values = said.get(ours) or {}
        sizes = {"cpu": values.get("cpus"), "memory": values.get("memory")}
        if kept := {key: str(value) for key, value in sizes.items() if value}:
            found[theirs] = kept
    return found


def _security(service: Any) -> Manifest:
    found: Manifest = {}
    user = str(service.get("user") or "").partition(":")[0]
    if user.isdigit():
        found["runAsUser"] = int(user)
    if service.get("read_only"):
        found["readOnlyRootFilesystem"] = True
    capabilities = {"add": service.get("cap_add"), "drop": service.get("cap_drop")}
    if kept := {key: list(value) for key, value in capabilities.items() if value}:
        found["capabilities"] = kept
    return found


def _seconds(said: str | None, default: float) -> float:
    return rolling.seconds(said) if said else default


def _called(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
