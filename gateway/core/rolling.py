"""A rolling deployment: how many replicas of each release take traffic, one change after the other. Pure.

The words are Swarm's, as a stack file has them under `deploy.update_config` of the service that takes the
traffic (https://docs.docker.com/reference/compose-file/deploy/#update_config). Where they are left out, ours
differ from Swarm's in two: `order` is start-first and `failure_action` rollback.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.core.model import Deployment, Kind, Phase, Routing, Scale, Slot

# Each replica has a name for each that is numbered below it (core.stack.parts).
MOST_REPLICAS = 100
START_FIRST, STOP_FIRST = "start-first", "stop-first"
ROLLBACK, PAUSE, CONTINUE = "rollback", "pause", "continue"
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """How a service's replicas are replaced. `parallelism` 0: all at once."""

    parallelism: int = 1
    delay_s: float = 0.0  # from one batch to the next, at least
    order: str = START_FIRST
    monitor_s: float = 5.0  # how long a batch is watched
    failure_action: str = ROLLBACK
    max_failure_ratio: float = 0.0  # of all replicas, how many may fail before that


def update_config(service: Mapping[str, Any]) -> UpdateConfig:
    """Of a service as `docker compose config` prints it, without `problems`."""
    said = _said(service)
    usual = UpdateConfig()
    return UpdateConfig(
        parallelism=int(said.get("parallelism", usual.parallelism)),
        delay_s=seconds(said.get("delay", usual.delay_s)),
        order=said.get("order", usual.order),
        monitor_s=seconds(said.get("monitor", usual.monitor_s)),
        failure_action=said.get("failure_action", usual.failure_action),
        max_failure_ratio=float(said.get("max_failure_ratio", usual.max_failure_ratio)),
    )


def _said(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        k: v
        for k, v in ((service.get("deploy") or {}).get("update_config") or {}).items()
        if v not in (None, "")
    }


def seconds(said: str | float) -> float:
    """Of Go's notation, as 1m30s."""
    if isinstance(said, (int, float)):
        return float(said)
    return sum(float(n) * _UNITS_S[unit] for n, unit in re.findall(r"([0-9.]+)(ns|us|ms|s|m|h)", said))


def replicas(service: Mapping[str, Any]) -> int:
    """How many containers of the service the stack has."""
    deployed = (service.get("deploy") or {}).get("replicas")
    return int(next((n for n in (service.get("scale"), deployed) if n is not None), 1))


def problems(name: str, service: Mapping[str, Any]) -> Iterator[str]:
    """What keeps the service from being rolled. Compose itself refuses what is not of the right kind."""
    said, count = _said(service), replicas(service)

    def wrong(key: str, rule: str) -> str:
        return f"service {name!r}: update_config.{key}={said.get(key)!r} {rule}"

    if not 1 <= count <= MOST_REPLICAS:
        yield f"service {name!r}: {count} replicas: a rolling site has 1 to {MOST_REPLICAS}"
    if said.get("order", START_FIRST) not in (START_FIRST, STOP_FIRST):
        yield wrong("order", f"must be {START_FIRST} or {STOP_FIRST}")
    elif said.get("order") == STOP_FIRST and not 0 < int(said.get("parallelism", 1)) < count:
        at_once = int(said.get("parallelism", 1)) or "all"
        yield wrong(
            "order", f"would stop {at_once} of {count} replicas before one was started: none would serve"
        )
    if said.get("failure_action", ROLLBACK) not in (ROLLBACK, PAUSE, CONTINUE):
        yield wrong("failure_action", f"must be {ROLLBACK}, {PAUSE} or {CONTINUE}")
    if not 0 <= float(said.get("max_failure_ratio", 0)) <= 1:
        yield wrong("max_failure_ratio", "must be from 0 to 1")


def goes_on_without(failed: Collection[int], aside: int, whole: int, config: UpdateConfig) -> bool:
    """True when these replicas, beside those that are set aside already, may be missing of the whole.

    Never the first: a slot may be narrowed to it alone.
    """
    if not failed or min(failed) <= 1:
        return False
    ratio = (aside + len(failed)) / whole
    return config.failure_action == CONTINUE or ratio <= config.max_failure_ratio


def scales(live: int, candidate: int, config: UpdateConfig) -> tuple[Scale, ...]:
    """From `live` replicas of the live release to `candidate` of the other: each changes one of the two.

    One of the live release stays until the candidate is whole (start-first), or all but a batch of it is
    (stop-first). Never more than the larger number run, and a batch on top (start-first); never fewer than
    the smaller one, but for a batch (stop-first).
    """
    step = config.parallelism or max(live, candidate)
    batches = -(-max(live, candidate) // step)
    now = Scale(0, live)
    found = [now]
    for batch in range(1, batches + 1):
        last = batch == batches
        grown = candidate if last else min(candidate, batch * step)
        shrunk = max(0 if last else 1, live - batch * step)
        if config.order == START_FIRST:
            changes = [replace(now, candidate=grown)]
            changes += [] if last else [Scale(grown, shrunk)]
        else:
            changes = [replace(now, live=shrunk), Scale(grown, shrunk)]
        for change in changes:
            if change != now:
                found.append(change)
            now = change
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ScaleSlot:
    """Bring the slot to `to` replicas, from wherever an earlier attempt was left.

    The first `below` of them serve all the while, if the slot does: `meanwhile` leaves out the others, which
    are started or stopped. `then` is what the site serves afterwards.
    """

    slot: Slot
    below: int
    to: int
    meanwhile: Routing
    then: Routing
    parts: tuple[int, ...]  # under which requests may be counted that those others answer

    @property
    def grows(self) -> bool:
        return self.to > self.below


def forward(deployment: Deployment) -> ScaleSlot:
    """The change that is in progress."""
    before, after = deployment.scales[deployment.scaled : deployment.scaled + 2]
    candidate = after.candidate != before.candidate
    # What is about to start must not be counted on yet; what is about to stop must not be any more.
    during = before if candidate else after
    return _change(deployment, before, after, _routing(deployment, during), _routing(deployment, after))


def backward(deployment: Deployment) -> ScaleSlot:
    """The same change, undone."""
    after, before = deployment.scales[deployment.scaled : deployment.scaled + 2]
    candidate = after.candidate != before.candidate
    during = after if candidate else before
    return _change(deployment, before, after, _back(deployment, during), _back(deployment, after))


def _change(d: Deployment, before: Scale, after: Scale, meanwhile: Routing, then: Routing) -> ScaleSlot:
    if before.candidate != after.candidate:
        slot, counts = d.slot, (before.candidate, after.candidate)
    else:
        slot, counts = d.slot.other, (before.live, after.live)
    below = min(counts)
    if below and meanwhile.serves(slot):
        meanwhile = replace(meanwhile, narrowed=slot, within=below)
    return ScaleSlot(slot, below, counts[1], meanwhile, then, parts(d, slot)[below:])


def is_last(deployment: Deployment) -> bool:
    """True when no change comes after the one in progress."""
    return deployment.scaled + 2 == len(deployment.scales)


def has_begun(deployment: Deployment) -> bool:
    """True when the candidate has a replica, or should have. Where one is to be stopped first, not yet."""
    return not deployment.scales or deployment.scaled > 0 or deployment.scales[1].candidate > 0


def watch_s(deployment: Deployment, config: UpdateConfig) -> float:
    """Seconds to watch after a change. A rollback is not watched: it must not be rolled back itself."""
    before, after = deployment.scales[deployment.scaled : deployment.scaled + 2]
    if deployment.kind is Kind.ROLLBACK or after.candidate == before.candidate:
        return 0.0
    return config.monitor_s if is_last(deployment) else max(config.monitor_s, config.delay_s)


def said(deployment: Deployment) -> str:
    """What the change in progress leads to, for people."""
    to = deployment.scales[deployment.scaled + (deployment.phase is not Phase.REVERTING)]
    return f"{to.candidate} of {deployment.release}, {to.live} of {deployment.previous}"


def parts(deployment: Deployment, slot: Slot) -> tuple[int, ...]:
    """What the slot may have been narrowed to: its requests of that time are counted apart."""
    if not deployment.scales:
        return ()
    most = deployment.scales[-1].candidate if slot is deployment.slot else deployment.scales[0].live
    return tuple(range(1, most + 1))


def _routing(deployment: Deployment, scale: Scale) -> Routing:
    """Visitors in proportion to the replicas."""
    if not scale.live:
        return Routing(deployment.slot, observed=True)
    return _shared(deployment, scale, _proportion(scale))


def _back(deployment: Deployment, scale: Scale) -> Routing:
    """On the way back the live release's replicas get what they always had; only the rest goes elsewhere."""
    if not scale.live:
        return Routing(deployment.slot, awake=True)
    return _shared(deployment, scale, min(_proportion(scale), 1 - scale.live / deployment.scales[0].live))


def _proportion(scale: Scale) -> float:
    return scale.candidate / (scale.candidate + scale.live)


def _shared(deployment: Deployment, scale: Scale, share: float) -> Routing:
    if not scale.candidate or share <= 0:
        return Routing(deployment.slot.other, awake=True)
    return Routing(deployment.slot.other, share=min(99, max(1, round(100 * share))))
