"""What a site's past deployments still tell, and which of them must stay for it. Newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.model import Deployment, Phase, Slot
from gateway.core.transitions import TERMINAL

Deployments = Sequence[Deployment]


def last_in_slots(deployments: Deployments) -> dict[Slot, Deployment]:
    """Slot -> the deployment that last started something there."""
    return {d.slot: d for d in reversed(deployments)}


def release_before(deployments: Deployments, live: str | None) -> str | None:
    """The newest older release that was live. Never a newer one: that was rolled back from."""
    served = [_number(d.release) for d in deployments if d.phase is Phase.SUCCEEDED or d.contracted]
    older = [number for number in served if live is None or number < _number(live)]
    return f"r{max(older)}" if older else None


def contracted_since(deployments: Deployments, release: str) -> str | None:
    """The newest later release whose contract has begun: what it took away, this one may need."""
    later = [
        _number(d.release) for d in deployments if d.contracted and _number(d.release) > _number(release)
    ]
    return f"r{max(later)}" if later else None


def forgettable(deployments: Deployments, *, keep: int) -> set[int]:
    """Numbers of the finished deployments beyond the newest `keep` that nothing is read from any more.

    Hundreds of attempts may have failed since the live release was started: what names it, and what
    a rollback from it leads to, stays however old.
    """
    finished = [d for d in deployments if d.phase in TERMINAL]
    last = last_in_slots(deployments).values()
    contracted = [d for d in finished if d.contracted][:1]
    stay = {d.number for d in (*finished[:keep], *last, *contracted)}
    for live in (None, *(d.release for d in last)):  # either slot may be the live one, or none
        before = release_before(deployments, live)
        stay |= {d.number for d in [d for d in finished if _served(d, before)][:1]}
    return {d.number for d in finished} - stay


def _served(deployment: Deployment, release: str | None) -> bool:
    served = deployment.phase is Phase.SUCCEEDED or deployment.contracted
    return served and deployment.release == release


def _number(release: str) -> int:
    return int(release[1:])
