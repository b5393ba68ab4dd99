"""Jobs on Docker Swarm: a stack has none, for `core.swarm.problems` refuses those that ask for one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gateway.core.model import Deployment, Hook, HookRun, Release, Site, Slot
from gateway.errors import EngineError


class SwarmJobs:
    """Implements ports.Jobs."""

    def run_hook(
        self,
        site: Site,
        deployment: Deployment,
        release: Release,
        hook: Hook,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> HookRun:
        raise EngineError(f"the hook {hook} is for Compose: {release.id} was not made on Swarm")

    def forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        pass

    def quiesce(self, site: Site, slot: Slot) -> Mapping[str, float]:
        return {}

    def busy(self, site: Site, slot: Slot) -> Collection[str]:
        return ()

    def schedule(self, site: Site, slot: Slot | None) -> None:
        pass
