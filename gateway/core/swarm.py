"""A slot's model as `docker stack deploy` reads it. Pure.

Docker's own reader knows the keys of the old compose file, version 3, and refuses all others (docker/cli,
cli/compose/schema/data/config_schema_v3.13.json); some that it knows it ignores (cli/compose/types/types.go,
UnsupportedProperties). What an owner wrote and Swarm would leave out is told to him instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from gateway.core import labels
from gateway.core.model import Site, Strategy

Model = dict[str, Any]

_TAKEN = frozenset((
    *("cap_add", "cap_drop", "command", "configs", "credential_spec", "deploy", "dns", "dns_search"),
    *("entrypoint", "environment", "extra_hosts", "healthcheck", "hostname", "image", "init", "isolation"),
    *("labels", "logging", "networks", "oom_score_adj", "read_only", "restart", "scale", "secrets"),
    *("stdin_open", "stop_grace_period", "stop_signal", "sysctls", "tmpfs", "tty", "ulimits", "user"),
    *("volumes", "working_dir"),
))  # fmt: skip
# Swarm has its own way, or none is needed: images are looked up by their digests, and who depends on another
# has to wait for it himself, also when that one moves to another machine.
_LEFT_OUT = frozenset(["attach", "build", "container_name", "depends_on", "expose", "ports", "pull_policy"])
# The network that nginx finds a slot by, as the stack's file names it: none of the owner's own has a blank.
GATEWAY = "gateway.network"
SERVICE = "gateway.service"  # says how the stack's file calls it
NUMBER = "gateway.number"  # of a replica that is a service of its own


@dataclass(frozen=True, slots=True)
class Replica:
    """`names`: under which nginx finds it, too. `aside`: it failed, and does not run."""

    names: Sequence[str]
    aside: bool = False


_CONDITIONS = {"no": "none", "on-failure": "on-failure", "always": "any", "unless-stopped": "any"}
_BIND, _RESOURCES = ("propagation",), ("limits", "reservations")


def problems(model: Model, site: Site) -> list[str]:
    """Everything that keeps the stack from running on Swarm as its file says."""
    found = []
    mode = ((model["services"].get(site.service) or {}).get("deploy") or {}).get("mode")
    if site.strategy is Strategy.ROLLING and mode == "global":
        found.append(f"service {site.service!r}: deploy.mode='global' has no replicas that could be replaced")
    for name, service in (model.get("services") or {}).items():
        found += _problems(name, service)
    for kind in ("secrets", "configs"):
        for name, entry in (model.get(kind) or {}).items():
            if not ((entry or {}).get("file") or (entry or {}).get("external")):
                found.append(f"{kind}.{name}: Swarm takes it from a `file`, or `external: true`")
    return found


def _problems(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(service.keys() - _TAKEN - _LEFT_OUT):
        if service[key] not in (None, False, [], {}):
            yield f"service {name!r}: {key} is not known to Swarm"
    if labels.of(service).get(labels.COMMAND):
        how = f"a manager can't run it in a task: use {labels.QUIESCE}"
        yield f"service {name!r}: label {labels.COMMAND}: {how}"
    mode = (service.get("deploy") or {}).get("mode")
    if mode not in (None, "replicated", "global"):
        yield f"service {name!r}: deploy.mode={mode!r} must be replicated or global"


def stack_file(
    model: Model, service: str, name: str, network: str, replicas: Mapping[int, Replica] | None = None
) -> Model:
    """What to deploy. `name`: by which nginx finds the service on `network`, which all gateways share.

    Swarm lets a service be found by its own name in every network that it is in, and one site's `app` would
    answer for another's: so it is named `name`, and has its own name in the stack's networks alone.

    With `replicas`, by their numbers, each is a service of its own: Swarm says itself which of a service's
    tasks it takes away, and gives all of them the same names.
    """
    model = deepcopy(model)
    services = {key: _service(key, each) for key, each in model["services"].items()}
    if service not in services:  # of a hook alone
        return _whole(model, services, name)
    serving = services.pop(service)
    own = serving.get("networks") or {"default": None}
    serving["networks"] = {
        key: {**(said or {}), "aliases": [*((said or {}).get("aliases") or []), service]}
        for key, said in own.items()
    } | {GATEWAY: {}}
    serve = (
        {name: serving}
        if replicas is None
        else {
            f"{name}-{number}": _one(serving, number, name, replica) for number, replica in replicas.items()
        }
    )
    file = _whole(model, {**services, **serve}, name)
    file["networks"] = {**(file.get("networks") or {}), GATEWAY: {"name": network, "external": True}}
    return file


def _one(serving: Model, number: int, name: str, replica: Replica) -> Model:
    service = deepcopy(serving)
    service["deploy"] |= {"replicas": 0 if replica.aside else 1}
    service["deploy"]["labels"][NUMBER] = str(number)
    service["networks"][GATEWAY] = {"aliases": [name, *replica.names]}
    return service


def _whole(model: Model, services: Model, name: str) -> Model:
    kept = {key: model[key] for key in ("networks", "volumes", "secrets", "configs") if model.get(key)}
    if "networks" in kept:
        # Not as Compose names them: the same site may still run there, on the same machine.
        kept["networks"] = {
            key: (said or {}) | {"name": (said or {}).get("name") or f"{name}_{key}_swarm"}
            for key, said in kept["networks"].items()
        }
    return kept | {"services": services}


def _service(name: str, said: Mapping[str, Any]) -> Model:
    service = {key: value for key, value in said.items() if key in _TAKEN and value is not None}
    deploy = dict(service.get("deploy") or {})
    if (replicas := service.pop("scale", None)) is not None:
        deploy["replicas"] = replicas
    condition = _CONDITIONS.get(str(service.pop("restart", "always")).partition(":")[0], "any")
    deploy.setdefault("restart_policy", {"condition": condition})
    # A virtual address goes on sending to tasks that are stopping (moby#30321).
    deploy["endpoint_mode"] = "dnsrr"
    deploy["labels"] = {**(deploy.get("labels") or {}), **labels.of(service), SERVICE: name}
    if labels.HOOK in labels.of(service):
        # No job of Swarm's: a manager that leads again runs it again and again (moby/moby#53632). The attempt
        # keeps Swarm from forgetting what ended, and starting it anew (swarmkit, taskreaper/task_reaper.go).
        once = {"condition": "none", "max_attempts": 1}
        deploy |= {"mode": "replicated", "replicas": 1, "restart_policy": once}
    if (how := labels.quiesce(labels.of(service))) is not None:
        # All that a manager can tell a task is to stop.
        service |= {"stop_signal": how.signal, "stop_grace_period": f"{how.timeout_s:g}s"}
    for kind in _RESOURCES:
        if "cpus" in (limits := (deploy.get("resources") or {}).get(kind) or {}):
            limits["cpus"] = str(limits["cpus"])
    service["deploy"] = {key: value for key, value in deploy.items() if value is not None}
    if "volumes" in service:
        service["volumes"] = [_volume(each) for each in service["volumes"]]
    if "extra_hosts" in service:
        service["extra_hosts"] = [each.replace("=", ":", 1) for each in service["extra_hosts"]]
    return service


def _volume(said: Mapping[str, Any]) -> Model:
    bind = {key: value for key, value in (said.get("bind") or {}).items() if key in _BIND}
    rest = {key: value for key, value in said.items() if key != "bind"}
    return rest | ({"bind": bind} if bind else {})
