"""Why a candidate isn't ready, on one screen: looked at before it is stopped."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway import errors
from gateway.core.model import Deployment, Site
from gateway.world import World


def diagnose(world: World, site: Site, deployment: Deployment) -> dict[str, Any]:
    """Last probe, containers, last log lines and, where the facts point to it, a hint."""
    try:
        probe = world.proxy.probe(site, deployment.slot)
        replicas = world.engine.replicas(site, deployment.slot)
        logs = world.engine.logs(site, deployment.slot)
    except errors.GatewayError as error:
        return {"incomplete": str(error)}
    runs = any(r.service == site.service and r.state == "running" for r in replicas)
    hint = ""
    if probe.status in (None, 502, 504) and runs:
        hint = (
            f"{site.service} runs, but nothing answers on port {site.port}: does it listen there, on 0.0.0.0?"
        )
    return {
        "probe": {"status": probe.status, "body": probe.body, "detail": probe.detail},
        "containers": [asdict(replica) for replica in replicas],
        "logs": {name: list(lines) for name, lines in logs.items()},
        "hint": hint,
    }
