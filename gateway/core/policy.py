"""Decisions on what was seen: pure functions over values."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.model import InFlight, Replica, Sample, Site

# Fewer answers than this say nothing about a share.
MIN_SAMPLE = 20
# A candidate that is slower by less is not slow, whatever the ratio.
MIN_SLOWER_S = 0.05
# Clients whose WebSocket is closed come back at once: a new connection each, and often a log-in.
RETURNS_PER_S, LONGEST_GOODBYE_S = 100, 30.0


KILLED = 128 + 9  # by SIGKILL


def broken(replicas: Sequence[Replica], service: str) -> str:
    """Why the stack can't serve any more; empty when nothing is wrong with it.

    A one-shot service (exit code 0, not the one that takes the traffic) counts as done. What is set aside
    is none of the stack's any more.
    """
    if not any(r.service == service for r in replicas):
        return f"service {service} has no container"
    faults = (_fault(replica, service) for replica in replicas if not replica.aside)
    return next((fault for fault in faults if fault), "")


def _fault(replica: Replica, service: str) -> str:
    done = replica.exit_code == 0 and replica.service != service
    if replica.oom_killed:
        # Docker may learn of it a moment before the end, or after.
        ended = "" if replica.exit_code is None else f" (exit code {replica.exit_code})"
        return f"{replica.name} was killed: out of memory{ended}"
    if replica.state in ("exited", "dead") and not done:
        killed = " (killed, as when it is out of memory)" if replica.exit_code == KILLED else ""
        return f"{replica.name} exited with code {replica.exit_code}{killed}"
    if replica.restarts > 0 or replica.state == "restarting":
        return f"{replica.name} keeps restarting (last exit code {replica.exit_code})"
    if replica.health == "unhealthy":
        return f"{replica.name} is unhealthy by its own health check"
    return ""


def serving(replicas: Sequence[Replica], service: str) -> list[Replica]:
    """Those that take the traffic, or are about to."""
    return [r for r in replicas if r.service == service and not r.aside]


def failed(replicas: Sequence[Replica], service: str) -> list[Replica]:
    """Which of them can't any more."""
    return [r for r in serving(replicas, service) if _fault(r, service)]


def late(replicas: Sequence[Replica], service: str) -> list[Replica]:
    """Which of them are not ready. Where Docker says that all are, but nginx gets no good answer: any."""
    candidates = serving(replicas, service)
    return [r for r in candidates if not docker_ready([r], service)] or candidates


def set_aside(replicas: Sequence[Replica]) -> str:
    """Which containers the others go on without, in words."""
    names = ", ".join(sorted(r.name for r in replicas if r.aside))
    return f"set aside as failed: {names}" if names else ""


def gone(replicas: Sequence[Replica], service: str) -> bool:
    """True when nothing of the service runs any more: it can't take traffic back."""
    return not any(r.state == "running" for r in serving(replicas, service))


def running(replicas: Sequence[Replica], service: str) -> bool:
    """True when every container of the serving service runs, healthy or not yet."""
    known = any(r.service == service for r in replicas)
    return known and all(r.state == "running" for r in serving(replicas, service))


def numbered(replicas: Sequence[Replica], service: str) -> int:
    """How many run or are set aside, if they are numbered from 1 without a gap; else 0."""
    there = (r for r in replicas if r.service == service and (r.aside or r.state == "running"))
    numbers = sorted(r.number for r in there)
    return len(numbers) if numbers == [*range(1, len(numbers) + 1)] else 0


def docker_ready(replicas: Sequence[Replica], service: str) -> bool:
    """True when every container of the serving service runs, and is healthy where it has a check."""
    healthy = all(r.health in (None, "healthy") for r in serving(replicas, service))
    return healthy and running(replicas, service)


def waiting_for(replicas: Sequence[Replica], service: str) -> str:
    """What Docker still waits for, in words."""
    late = [r for r in serving(replicas, service) if r.health == "starting"]
    return f"{late[0].name}'s health check has not passed yet" if late else "containers are not running yet"


def worse(candidate: Sample, live: Sample, site: Site) -> str:
    """Why the candidate must go, with the figures; empty when it may stay.

    Compared with what the live release did in the same time, as far as both answered enough.
    """
    if candidate.requests < MIN_SAMPLE:
        return ""
    compared = live.requests >= MIN_SAMPLE
    other = live if compared else Sample()
    limit = f"(limit {site.max_5xx_share:.1%})"
    if candidate.share_5xx - other.share_5xx > site.max_5xx_share:
        beside = f", the live release {_of(live, live.errors_5xx)}" if compared else ""
        return f"{_of(candidate, candidate.errors_5xx)} answers were 5xx{beside} {limit}"
    if candidate.share_unreachable - other.share_unreachable > site.max_5xx_share:
        beside = f", the live release at {_of(live, live.unreachable)}" if compared else ""
        mine = _of(candidate, candidate.unreachable)
        return f"it could not be connected to at {mine} requests{beside} {limit}"
    slower = candidate.p95_s > live.p95_s * site.max_p95_ratio + MIN_SLOWER_S
    if compared and site.max_p95_ratio and slower:
        return (
            f"95 % of {candidate.requests} answers took up to {candidate.p95_s * 1000:.0f} ms,"
            f" the live release's {live.p95_s * 1000:.0f} ms (limit {site.max_p95_ratio:g} times as long)"
        )
    return ""


def _of(sample: Sample, count: int) -> str:
    return f"{count} of {sample.requests} ({count / sample.requests:.1%})"


def goodbye_s(left: InFlight) -> float:
    """Seconds over which replicas are told to stop: not all clients of their WebSockets return at once."""
    return min(left.sockets / RETURNS_PER_S, LONGEST_GOODBYE_S)
