"""What the controller needs from the world. Adapters and fakes pass the same contract tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.core.admission import Admission
from gateway.core.model import (
    Deployment,
    Hook,
    HookRun,
    InFlight,
    ProbeResult,
    Release,
    Replica,
    Routing,
    Sample,
    Site,
    Slot,
)
from gateway.core.serving import DomainCertificate


class Proxy(Protocol):
    """The nginx that serves the sites. Raises errors.ProxyError when it can't be asked."""

    def publish(self, site: Site, routing: Routing) -> None:
        """Order the routing: durable, then atomic. Idempotent. Does not confirm."""

    def serving(self, site: Site) -> Routing:
        """What nginx itself says that it serves now."""

    def admit(self, site: Site, admission: Admission) -> None:
        """Order who is let in: durable, then atomic. Idempotent. Does not confirm.

        A pause ends at its bound, and as soon as a routing with another slot is published.
        """

    def admission(self, site: Site) -> Admission:
        """Who is let in now, as nginx itself says."""

    def probe(self, site: Site, slot: Slot) -> ProbeResult:
        """One request of the site's probe to the slot through nginx's own upstream."""

    def in_flight(self, site: Site, slot: Slot, parts: Sequence[int] = ()) -> InFlight:
        """What the slot is answering, across workers and reloads.

        What began while it was narrowed is counted apart, by how many replicas it was narrowed to: `parts`.
        """

    def sample(self, site: Site, slot: Slot) -> Sample:
        """Answers counted for the slot since its routing was last published as observed."""


Certificates = Callable[[Site], Sequence[DomainCertificate]]


@dataclass(frozen=True, slots=True)
class DataPlane:
    """An nginx with its agent, beside us or in another container.

    `routing` is what a site's requests find now; `generation` is the configuration that nginx runs, None: it
    does not answer.
    """

    proxy: Proxy
    certificates: Certificates
    routing: Callable[[Site], Routing]
    generation: Callable[[], str | None]


class Engine(Protocol):
    """Runs stacks. Every call is idempotent; raises errors.EngineError, or EngineUnreachable."""

    def resolve(self, site: Site, images: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
        """The site's stack file as a resolved compose model; raises errors.StackInvalid with all problems."""

    def start(
        self,
        site: Site,
        slot: Slot,
        release: Release,
        *,
        cancelled: Callable[[], bool],
        replicas: int | None = None,
    ) -> None:
        """Bring the release up in the slot, but for its hooks and schedulers.

        Returns once the containers are started, not healthy. `replicas` of the service that takes the
        traffic, or as many as the stack says.

        `cancelled` is asked while it waits (an image may have to be pulled); it then raises EngineError.
        """

    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        """The slot's containers, one-shot ones included, hooks not; empty when none exists."""

    def scale(
        self, site: Site, slot: Slot, release: Release, replicas: int, *, cancelled: Callable[[], bool]
    ) -> None:
        """Bring the service that takes the traffic to so many replicas of the release that the slot holds.

        Those with the lowest numbers stay as they are. Others are started, not healthy when it returns, or
        stopped and removed, which is confirmed by looking. `cancelled`: as in `start`.
        """

    def set_aside(self, site: Site, slot: Slot, numbers: Collection[int]) -> None:
        """Stop the replicas of these numbers, and let nginx find them no more.

        They keep their numbers, and stay to be looked at, until the slot has fewer replicas or none.
        """

    def stop(self, site: Site, slot: Slot, *, over_s: float = 0.0) -> None:
        """Remove the slot's containers and its own networks; confirmed by looking.

        Each is told by its stop signal, once, and has its grace period to end by itself. Replicas of the
        service that takes the traffic are told one after the other, over so many seconds.
        """

    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        """Container name -> its last 30 log lines."""


class Jobs(Protocol):
    """What a stack does beside answering requests. Idempotent; raises as Engine does."""

    def run_hook(
        self,
        site: Site,
        deployment: Deployment,
        release: Release,
        hook: Hook,
        *,
        cancelled: Callable[[], bool],
    ) -> HookRun:
        """Start the release's hook in the deployment's slot unless that was done, and say how it stands.

        It is run once a deployment, however often this is called, and by whom. `cancelled`: as in `start`.
        """

    def forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        """Remove the hook's container, ended or not. After that it could be run again."""

    def quiesce(self, site: Site, slot: Slot) -> Mapping[str, float]:
        """Tell the slot's workers to take on nothing new, as their labels say.

        Container name -> the seconds that it may take.
        """

    def busy(self, site: Site, slot: Slot) -> Collection[str]:
        """Names of those that `quiesce` told and that have not finished."""

    def schedule(self, site: Site, slot: Slot | None) -> None:
        """Run the schedulers of this slot alone: the other's have stopped before one starts here."""


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None: ...
