"""Engine on Docker Swarm: stacks are deployed by `docker stack`, looked at through a manager's API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from docker.models.services import Service

from gateway.adapters import services as swarms
from gateway.adapters.compose_command import COMMAND_TIMEOUT_S, run_docker
from gateway.adapters.containers import translated
from gateway.adapters.numbered import LOOK_S, Numbered, is_aside, number_of
from gateway.adapters.resolving import Resolving
from gateway.adapters.services import FAILED, NOT_BEGUN, Task, labels_of, name_of, of_stack
from gateway.core import labels, rolling, stack, swarm
from gateway.core.model import Release, Replica, Site, Slot, Strategy
from gateway.errors import EngineError


class SwarmEngine(Numbered, Resolving):
    """Implements ports.Engine."""

    def _problems(self, model: stack.Model, site: Site) -> list[str]:
        return swarm.problems(model, site)

    @translated
    def start(
        self,
        site: Site,
        slot: Slot,
        release: Release,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        replicas: int | None = None,
    ) -> None:
        self._refuse_foreign_services(site, slot)
        model = stack.for_slot(release, site, slot)
        if replicas is not None:
            model = stack.scaled(model, site.service, replicas)
        for name in labels.schedulers(model["services"]):
            model = stack.scaled(model, name, 0)  # until the slot is live
        numbered = None
        if site.strategy is Strategy.ROLLING:
            whole = rolling.replicas(model["services"][site.service])
            found, count = self._serving(site, slot), whole if replicas is None else replicas
            numbered = self._numbered(site, slot, release, count, found)
        self._deploy(site, slot, model, "--prune", cancelled=cancelled, replicas=numbered)
        self._until_begun(site, slot, cancelled)

    @translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        services = [s for s in self._own_services(site, slot) if labels.HOOK not in labels_of(s)]
        found = [_replica(service, task) for service, latest in self._tasks(services) for task in latest]
        return [*found, *(_aside(service) for service in services if is_aside(service))]

    @translated
    def stop(self, site: Site, slot: Slot, *, over_s: float = 0.0) -> None:
        if self._foreign_services(site, slot):
            return  # not ours to stop; a start over it was refused
        if over_s:
            self._stop_in_turn(site, slot, over_s)
        until, why = time.monotonic() + COMMAND_TIMEOUT_S, ""
        while left := self._left(site, slot):
            if time.monotonic() > until:
                raise EngineError(f"still there after `stack rm`: {left} {why}".strip())
            try:
                run_docker(["stack", "rm", stack.project(site, slot)])
            except EngineError as error:  # what it was to remove may have gone meanwhile
                why = f"({error})"
            time.sleep(LOOK_S)

    def _stop_in_turn(self, site: Site, slot: Slot, over_s: float) -> None:
        for service in self._own_services(site, slot):
            if labels_of(service)[swarm.SERVICE] != site.service:
                continue
            replicas = service.attrs["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0)
            for left in reversed(range(replicas)):
                time.sleep(over_s / replicas)
                service.reload()
                service.scale(left)

    def _left(self, site: Site, slot: Slot) -> str:
        """What there still is of the stack, in words."""
        filters = of_stack(site, slot)
        names = [service.name for service in self._services(site, slot)]
        names += [network.name for network in self._docker.networks.list(filters=filters)]
        # Those whose service is gone are listed until their containers have ended.
        active = [task["ID"] for task in self._every_task(filters) if not swarms.has_ended(task)]
        return ", ".join([*names, *(f"task {one}" for one in active)])

    @translated
    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        tasks = self._tasks(self._own_services(site, slot))
        return {name_of(s, task): swarms.last_lines(task) for s, latest in tasks for task in latest}


def _replica(service: Service, task: Task) -> Replica:
    state, earlier = task["Status"]["State"], task["Earlier"]
    shown = "created" if state in NOT_BEGUN else "exited" if state in FAILED else "running"
    said, spec = labels_of(service), task["Spec"]["ContainerSpec"]
    # A task runs once its own health check has passed.
    health = "starting" if state != "running" else "healthy" if spec.get("Healthcheck") else None
    return Replica(
        name=name_of(service, task),
        service=said.get(swarm.SERVICE, ""),
        state=shown,
        health=health,
        exit_code=swarms.exit_code(earlier[-1] if earlier and state not in FAILED else task),
        oom_killed=False,  # Swarm does not say
        restarts=len(earlier),
        scheduler=said.get(labels.SCHEDULER) == "true",
        number=number_of(service),
    )


def _aside(service: Service) -> Replica:
    return Replica(
        name=str(service.name),
        service=labels_of(service)[swarm.SERVICE],
        state="exited",
        health=None,
        exit_code=None,
        oom_killed=False,
        restarts=0,
        number=number_of(service),
        aside=True,
    )
