"""Jobs on Docker Compose: hooks are containers of their own, workers and schedulers those of the stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping

from docker.errors import APIError
from docker.models.containers import Container

from gateway.adapters.containers import OWNER, RUNS, OnDocker, last_lines, stop_with_grace, translated
from gateway.core import labels, stack
from gateway.core.model import Deployment, Hook, HookRun, Release, Site, Slot
from gateway.errors import EngineError

# A restart policy may start again what was just stopped; it is looked at until nothing runs.
STOP_ROUNDS = 5


class ComposeJobs(OnDocker):
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
        container = self._hook(site, deployment, hook) or self._create(
            site, deployment, release, hook, cancelled
        )
        state = container.attrs["State"]
        if state["Status"] == "created":
            container.start()
        return HookRun(
            service=container.labels["com.docker.compose.service"],
            exit_code=state["ExitCode"] if state["Status"] in ("exited", "dead") else None,
            lines=tuple(last_lines(container)),
        )

    def _create(
        self,
        site: Site,
        deployment: Deployment,
        release: Release,
        hook: Hook,
        cancelled: Callable[[], bool],
    ) -> Container:
        self._refuse_foreign(site, deployment.slot)
        for left in self._hooks(site, deployment.slot):
            if left.labels[labels.HOOK] == hook:  # of a deployment whose result was saved
                left.remove(force=True, v=True)
        text = json.dumps(self._as_ours(stack.for_hook(release, site, deployment, hook)))
        project = stack.project(site, deployment.slot)
        self._run(["-p", project, "-f", "-", "create"], stdin=text, cancelled=cancelled)
        created = self._hook(site, deployment, hook)
        assert created is not None, "`docker compose create` said that it was created"
        return created

    def _hooks(self, site: Site, slot: Slot) -> list[Container]:
        return [c for c in self._containers(site, slot) if labels.HOOK in c.labels]

    def _hook(self, site: Site, deployment: Deployment, hook: Hook) -> Container | None:
        wanted = {labels.HOOK: str(hook), stack.DEPLOYMENT: deployment.id}
        found = [c for c in self._hooks(site, deployment.slot) if wanted.items() <= c.labels.items()]
        return found[0] if found else None

    @translated
    def forget_hook(self, site: Site, deployment: Deployment, hook: Hook) -> None:
        if container := self._hook(site, deployment, hook):
            container.remove(force=True, v=True)

    @translated
    def quiesce(self, site: Site, slot: Slot) -> Mapping[str, float]:
        told = {}
        for container in self._containers(site, slot):
            how = labels.quiesce(container.labels)
            if how is None or container.status != "running":
                continue
            try:
                self._tell(container, how)
            except APIError as error:
                if error.status_code not in (404, 409):
                    raise
                continue  # it ended in this moment
            told[container.name or "?"] = how.timeout_s
        return told

    def _tell(self, container: Container, how: labels.Quiesce) -> None:
        if how.signal:
            container.kill(how.signal)
            return
        command = self._docker.api.exec_create(container.id, ["sh", "-c", how.command])["Id"]
        self._docker.api.exec_start(command, detach=True)

    @translated
    def busy(self, site: Site, slot: Slot) -> Collection[str]:
        return [c.name or "?" for c in self._containers(site, slot) if self._is_busy(c)]

    def _is_busy(self, container: Container) -> bool:
        """Told by a signal, it is busy until it ends; by a command, until one of the two does."""
        how = labels.quiesce(container.labels)
        if how is None or container.status != "running":
            return False
        # Docker lists the commands that run in a container, by whomever they were begun.
        return bool(how.signal or container.attrs["ExecIDs"])

    @translated
    def schedule(self, site: Site, slot: Slot | None) -> None:
        for _ in range(STOP_ROUNDS):
            found = self._schedulers(site)
            elsewhere = [c for c in found if c.labels["gateway.slot"] != slot and c.status in RUNS]
            if not elsewhere:
                break
            for container in elsewhere:
                stop_with_grace(container)
        else:
            names = ", ".join(c.name or "?" for c in elsewhere)
            raise EngineError(f"these schedulers run on though they were stopped: {names}")
        for container in found:
            if container.labels["gateway.slot"] == slot:
                container.start()

    def _schedulers(self, site: Site) -> list[Container]:
        own = [f"gateway.site={site.name}", f"{OWNER}={self._gateway_network()}", f"{labels.SCHEDULER}=true"]
        return list(self._docker.containers.list(all=True, filters={"label": own}, ignore_removed=True))
