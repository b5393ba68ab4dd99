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
    served = [int(d.release[1:]) for d in deployments if d.phase is Phase.SUCCEEDED]
    older = [number for number in served if live is None or number < int(live[1:])]
    return f"r{max(older)}" if older else None


def forgettable(deployments: Deployments, *, keep: int) -> set[int]:
    """Numbers of the finished deployments beyond the newest `keep` that nothing is read from any more.

    Hundreds of attempts may have failed since the live release was started: what names it, and what
    a rollback from it leads to, stays however old.
    """
    finished = [d for d in deployments if d.phase in TERMINAL]
    last = last_in_slots(deployments).values()
    stay = {d.number for d in (*finished[:keep], *last)}
    for live in (None, *(d.release for d in last)):  # either slot may be the live one, or none
        before = release_before(deployments, live)
        stay |= {d.number for d in [d for d in finished if _served(d, before)][:1]}
    return {d.number for d in finished} - stay


def _served(deployment: Deployment, release: str | None) -> bool:
    return deployment.phase is Phase.SUCCEEDED and deployment.release == release
