"""A compose model as `docker compose config` resolves it, made ready to run in a slot. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from gateway.core import labels, rolling
from gateway.core.model import Deployment, Hook, Release, Site, Slot, Strategy

Model = dict[str, Any]

# Docker's reference grammar (distribution/reference), without its length limits.
_NAME = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?"
_TAG = r"(?::[A-Za-z0-9_][\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
# What a stack file fills from variables, as a rule; and files that stand in it whole.
_MAY_BE_SECRET = re.compile(
    r"services\..+?\.(?:environment|build\.args)[.\[]|(?:secrets|configs)\..+?\.content$"
)
_IMAGE = re.compile(rf"{_HOST}{_NAME}(?:/{_NAME})*{_TAG}")


def is_image_reference(text: str) -> bool:
    return _IMAGE.fullmatch(text) is not None


def with_images(model: Model, images: Mapping[str, str]) -> Model:
    """The model with other images. Check `problems` first."""
    model = deepcopy(model)
    for service, image in images.items():
        model["services"][service]["image"] = image
    return model


def scaled(model: Model, service: str, replicas: int) -> Model:
    """The model with so many containers of the service."""
    model = deepcopy(model)
    (model["services"][service].get("deploy") or {}).pop("replicas", None)
    model["services"][service]["scale"] = replicas
    return model


def problems(model: Model, site: Site, images: Mapping[str, str]) -> list[str]:
    """Everything that keeps the stack from running in two slots side by side."""
    services: dict[str, Any] = model.get("services") or {}
    known = ", ".join(sorted(services)) or "none"
    found = []
    if site.service not in services:
        found.append(
            f"{site.stack_file}: no service {site.service!r} (GATEWAY_UPSTREAM names it); it has: {known}"
        )
    elif site.strategy is Strategy.ROLLING:
        found += rolling.problems(site.service, services[site.service])
    for service, image in images.items():
        if service not in services:
            found.append(f"--image {service}={image}: the stack has no service {service!r}; it has: {known}")
        if not is_image_reference(image):
            found.append(f"--image {service}={image}: {image!r} is not an image reference like shop:2")
    for name, service in services.items():
        if not service.get("image") and name not in images:
            found.append(f"service {name!r} has no image: build it first and name it (`image: shop:2`)")
        if service.get("network_mode") in ("host", "none"):
            found.append(
                f"service {name!r} has network_mode {service['network_mode']}: two slots can't share it"
            )
    return found + labels.problems(services, site)


def warnings(model: Mapping[str, Any]) -> list[str]:
    """What works, but perhaps not as the owner thinks."""
    own = [key for key, v in (model.get("volumes") or {}).items() if not (v or {}).get("external")]
    return [
        f"volume {v!r} is made once a slot: data that both releases share must be `external: true`"
        for v in own
    ]


def for_slot(release: Release, site: Site, slot: Slot) -> Model:
    """The model that runs in the slot: no published ports or fixed names, labelled, its own project.

    Hooks are no part of it. Schedulers are, but see `started_with_it`.
    """
    model = deepcopy(dict(release.stack))
    model["name"] = project(site, slot)
    hooks = labels.hooks(model["services"]).values()
    model["services"] = {name: s for name, s in model["services"].items() if name not in hooks}
    _fit(model, release, site, slot)
    for name in labels.schedulers(model["services"]):
        _stays_stopped(model["services"][name])
    return model


def _stays_stopped(service: Any) -> None:
    """Docker starts an `always` that was stopped when it starts itself: then two schedulers would run."""
    deploy = service.get("deploy") or {}
    policy = deploy.get("restart_policy")
    if service.get("restart") == "always" or (
        policy is not None and policy.get("condition") in (None, "any")
    ):
        deploy.pop("restart_policy", None)
        service["restart"] = "unless-stopped"


def for_hook(release: Release, site: Site, deployment: Deployment, hook: Hook) -> Model:
    """One service of the release, to be run once, on the networks and volumes of the deployment's slot."""
    model = deepcopy(dict(release.stack))
    model["name"] = project(site, deployment.slot)
    name = labels.hooks(model["services"])[hook]
    service = model["services"][name]
    model["services"] = {name: service}
    _fit(model, release, site, deployment.slot)
    service["labels"][DEPLOYMENT] = deployment.id
    service["restart"] = "no"
    for within in (service, service.get("deploy") or {}):
        for key in ("scale", "replicas", "restart_policy"):
            within.pop(key, None)
    return model


def _fit(model: Model, release: Release, site: Site, slot: Slot) -> None:
    for service in model["services"].values():
        # Two slots can't both hold a host port or a container name; traffic comes through the gateway.
        for key in ("ports", "container_name", "build"):
            service.pop(key, None)
        own = service.setdefault("labels", {})
        own |= {"gateway.site": site.name, "gateway.slot": str(slot), "gateway.release": release.id}
    for kind in ("networks", "volumes"):
        for entry in (model.get(kind) or {}).values():
            # `config` writes the name that it derived from the project; each slot derives its own.
            if entry and not entry.get("external") and str(entry.get("name", "")).startswith(CANDIDATE):
                entry.pop("name")


def started_with_it(model: Model) -> list[str]:
    """The services that run before the slot is live: all but the schedulers."""
    return sorted(model["services"].keys() - labels.schedulers(model["services"]))


def has_order(model: Model) -> bool:
    """True when services wait for one another, or run something after their start."""
    return any(s.get("depends_on") or s.get("post_start") for s in model["services"].values())


# Says on a hook's container in which deployment it was run.
DEPLOYMENT = "gateway.deployment"
# The project name under which stack files are resolved; never started.
CANDIDATE = "gateway-candidate"


def project(site: Site, slot: Slot) -> str:
    return f"{site.name}-{slot}"


def alias(site: Site, slot: Slot) -> str:
    """The name that nginx looks up for the slot."""
    return f"{site.name}-{slot}"


def part(site: Site, slot: Slot, within: int) -> str:
    """The name that nginx looks up, and counts requests by, while only so many replicas of the slot serve."""
    return f"{site.name}_{slot}-{within}"


def parts(site: Site, slot: Slot, number: int, most: int) -> list[str]:
    """The parts of `most` replicas that the one with the number belongs to. Given before it starts.

    Docker can't take a name from a container that runs without cutting its connections.
    """
    return [part(site, slot, within) for within in range(number, most + 1)]


def diff(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[str]:
    """What changes between two models, one `path: old -> new` a line. What may be secret is not shown."""
    old, new = _flat(before or {}), _flat(after)
    lines = []
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) != new.get(path):
            shown = [
                "(none)" if path not in flat else "(not shown)" if _MAY_BE_SECRET.match(path) else flat[path]
                for flat in (old, new)
            ]
            lines.append(f"{path}: {shown[0]} -> {shown[1]}")
    return lines


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        children = [(f"{path}.{key}" if path else str(key), child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    else:
        return {path: str(value)}
    flat: dict[str, str] = {}
    for name, child in children:
        flat |= _flat(child, name)
    return flat
