"""Decisions on what was seen: pure functions over values."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.model import Replica, Sample

# Fewer answers than this say nothing about a share.
MIN_SAMPLE = 20


def broken(replicas: Sequence[Replica], service: str) -> str:
    """Why the stack can't serve any more; empty when nothing is wrong with it.

    A one-shot service (exit code 0, not the one that takes the traffic) counts as done.
    """
    serving = [r for r in replicas if r.service == service]
    if not serving:
        return f"service {service} has no container"
    for replica in replicas:
        done = replica.exit_code == 0 and replica.service != service
        if replica.oom_killed:
            return f"{replica.name} was killed: out of memory (exit code {replica.exit_code})"
        if replica.state in ("exited", "dead") and not done:
            return f"{replica.name} exited with code {replica.exit_code}"
        if replica.restarts > 0 or replica.state == "restarting":
            return f"{replica.name} keeps restarting (last exit code {replica.exit_code})"
        if replica.health == "unhealthy":
            return f"{replica.name} is unhealthy by its own health check"
    return ""


def gone(replicas: Sequence[Replica], service: str) -> bool:
    """True when nothing of the service runs any more: it can't take traffic back."""
    return not any(r.service == service and r.state == "running" for r in replicas)


def running(replicas: Sequence[Replica], service: str) -> bool:
    """True when every container of the serving service runs, healthy or not yet."""
    serving = [r for r in replicas if r.service == service]
    return bool(serving) and all(r.state == "running" for r in serving)


def docker_ready(replicas: Sequence[Replica], service: str) -> bool:
    """True when every container of the serving service runs, and is healthy where it has a check."""
    healthy = all(r.health in (None, "healthy") for r in replicas if r.service == service)
    return healthy and running(replicas, service)


def waiting_for(replicas: Sequence[Replica], service: str) -> str:
    """What Docker still waits for, in words."""
    late = [r for r in replicas if r.service == service and r.health == "starting"]
    return f"{late[0].name}'s health check has not passed yet" if late else "containers are not running yet"


def too_many_errors(sample: Sample, max_5xx_share: float) -> str:
    """Why the candidate must go; empty when it may stay."""
    if sample.requests < MIN_SAMPLE:
        return ""
    share = sample.errors_5xx / sample.requests
    if share <= max_5xx_share:
        return ""
    return (
        f"{sample.errors_5xx} of {sample.requests} answers were 5xx ({share:.1%}, limit {max_5xx_share:.1%})"
    )
