"""Jobs on Docker Swarm: hooks are services that run to their end, workers and schedulers the stack's."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from docker.models.services import Service

from gateway.adapters import services as swarms
from gateway.adapters.containers import OWNER, translated
from gateway.adapters.services import OnSwarm, labels_of
from gateway.core import labels, stack, swarm
from gateway.core.model import Deployment, Hook, HookRun, Release, Site, Slot
from gateway.errors import EngineError

LOOK_S = 0.2
# A scheduler has its grace period to end, however long; then something is wrong.
STOPPED_WITHIN_S = 600.0


class SwarmJobs(OnSwarm):
    """Implements ports.Jobs."""

    @translated
    def run_hook(
        self,
        site: Site,
        deployment: Deployment,
        release: Release,
        hook: Hook,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> HookRun:
        service = self._hook(site, deployment, hook)
        if service is None:
            self._refuse_foreign_services(site, deployment.slot)
            for left in self._hooks(site, deployment.slot):
                if labels_of(left)[labels.HOOK] == hook:  # of a deployment whose result was saved
                    left.remove()  # type: ignore[no-untyped-call]
            model = stack.for_hook(release, site, deployment, hook)
            self._deploy(site, deployment.slot, model, cancelled=cancelled)
            service = self._hook(site, deployment, hook)
            assert service is not None, "`docker stack deploy` said that it was created"
        name = labels_of(service)[swarm.SERVICE]
        # One at most: where it is taken away, it is not started elsewhere. It may have done half.
        for task in self._every_task({"service": [service.id]}):
            return HookRun(name, swarms.exit_code(task), tuple(swarms.last_lines(task)))
        return HookRun(name, None, ())

    def _hooks(self, site: Site, slot: Slot) -> list[Service]:
        return [service for service in self._own_services(site, slot) if labels.HOOK in labels_of(service)]

    def _hook(self, site: Site, deployment: Deployment, hook: Hook) -> Service | None:
        wanted = {labels.HOOK: str(hook), stack.DEPLOYMENT: deployment.id}
        found = [s for s in self._hooks(site, deployment.slot) if wanted.items() <= labels_of(s).items()]
        return found[0] if found else None

    @translated
    def forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        if service := self._hook(site, deployment, hook):
            service.remove()  # type: ignore[no-untyped-call]

    @translated
    def quiesce(self, site: Site, slot: Slot) -> Mapping[str, float]:
        """A manager can stop a task, and nothing else: so its stop signal is the one of the label."""
        told = {}
        for service, latest in self._tasks(self._workers(site, slot)):
            how = labels.quiesce(labels_of(service))
            assert how is not None
            for task in latest:
                if not swarms.has_ended(task):
                    told[swarms.name_of(service, task)] = how.timeout_s
            service.scale(0)
        return told

    @translated
    def busy(self, site: Site, slot: Slot) -> Collection[str]:
        return self._run_on(self._workers(site, slot))

    def _workers(self, site: Site, slot: Slot) -> list[Service]:
        return [s for s in self._own_services(site, slot) if labels.quiesce(labels_of(s)) is not None]

    @translated
    def schedule(self, site: Site, slot: Slot | None) -> None:
        found = self._schedulers(site)
        elsewhere = [service for service in found if labels_of(service)["gateway.slot"] != slot]
        for service in elsewhere:
            service.scale(0)
        until = time.monotonic() + STOPPED_WITHIN_S
        while names := self._run_on(elsewhere):
            if time.monotonic() > until:
                raise EngineError(f"these schedulers run on though they were stopped: {', '.join(names)}")
            time.sleep(LOOK_S)
        here = [service for service in found if service not in elsewhere]
        for service in here:
            service.scale(1)
        # Started, as on Compose: else one could be told twice, and be stopped before it ran.
        while [s for s, latest in self._tasks(here) if not _have_begun(latest)]:
            if time.monotonic() > until:
                raise EngineError(f"the schedulers of {slot} were not started within {STOPPED_WITHIN_S:g} s")
            time.sleep(LOOK_S)

    def _run_on(self, services: list[Service]) -> list[str]:
        return [
            swarms.name_of(service, task)
            for service, latest in self._tasks(services)
            for task in latest
            if not swarms.has_ended(task)
        ]

    def _schedulers(self, site: Site) -> list[Service]:
        own = [f"gateway.site={site.name}", f"{OWNER}={self._gateway_network()}", f"{labels.SCHEDULER}=true"]
        found: list[Service] = self._docker.services.list(filters={"label": own})
        return found


def _have_begun(latest: list[swarms.Task]) -> bool:
    return any(swarms.has_begun(task) for task in latest)
