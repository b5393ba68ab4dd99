"""Engine on Docker Swarm: stacks are deployed by `docker stack`, looked at through a manager's API."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from docker.models.services import Service

from gateway.adapters import services as swarms
from gateway.adapters.compose_command import COMMAND_TIMEOUT_S, run_docker
from gateway.adapters.containers import translated
from gateway.adapters.resolving import Resolving
from gateway.adapters.services import FAILED, NAMESPACE, NOT_BEGUN, REJECTED, OnSwarm, Task, name_of
from gateway.core import labels, stack, swarm
from gateway.core.model import Release, Replica, Site, Slot
from gateway.errors import EngineError

LOOK_S = 0.2


class SwarmEngine(OnSwarm, Resolving):
    """Implements ports.Engine, but for rolling: Swarm says itself which replica goes."""

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
        self._deploy(site, slot, model, "--prune", cancelled=cancelled)
        self._until_begun(site, slot, cancelled)

    def _until_begun(self, site: Site, slot: Slot, cancelled: Callable[[], bool]) -> None:
        until = time.monotonic() + COMMAND_TIMEOUT_S
        while waiting := self._not_begun(site, slot):
            if cancelled():
                raise EngineError("cancelled")
            if time.monotonic() > until:
                raise EngineError(f"not started within {COMMAND_TIMEOUT_S:g} s: {waiting}")
            time.sleep(LOOK_S)

    def _not_begun(self, site: Site, slot: Slot) -> str:
        """What Swarm still has to do before each service has its tasks, in words; empty: nothing.

        Raises EngineError when a node can't run one.
        """
        tasks = self._tasks(self._services(site, slot))
        for service, latest in tasks:
            missing = _wanted(service) - len(latest)
            if missing > 0:
                return f"{service.name} has {missing} tasks too few"
            for task in latest:
                name, status = name_of(service, task), task["Status"]
                for one in (task, *task["Earlier"]):
                    if one["Status"]["State"] == REJECTED:
                        raise EngineError(f"{name} was rejected: {one['Status'].get('Err')}")
                # One that has failed before is broken, however often it is tried again.
                if status["State"] in NOT_BEGUN and not task["Earlier"]:
                    return f"{name} is {status['State']}: {status.get('Err') or 'no error yet'}"
        return ""

    @translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        services = [s for s in self._own_services(site, slot) if labels.HOOK not in s.attrs["Spec"]["Labels"]]
        return [_replica(service, task) for service, latest in self._tasks(services) for task in latest]

    @translated
    def scale(
        self,
        site: Site,
        slot: Slot,
        release: Release,
        replicas: int,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        raise EngineError("Swarm says itself which replica goes: a rolling deployment is for Compose")

    @translated
    def set_aside(self, site: Site, slot: Slot, numbers: Collection[int]) -> None:
        raise EngineError("Swarm replaces what fails: nothing is set aside")

    @translated
    def stop(self, site: Site, slot: Slot, *, over_s: float = 0.0) -> None:
        if self._foreign_services(site, slot):
            return  # not ours to stop; a start over it was refused
        if over_s:
            self._stop_in_turn(site, slot, over_s)
        until = time.monotonic() + COMMAND_TIMEOUT_S
        while left := self._left(site, slot):
            if time.monotonic() > until:
                raise EngineError(f"still there after `stack rm`: {left}")
            run_docker(["stack", "rm", stack.project(site, slot)])
            time.sleep(LOOK_S)

    def _stop_in_turn(self, site: Site, slot: Slot, over_s: float) -> None:
        for service in self._own_services(site, slot):
            if service.attrs["Spec"]["Labels"][swarm.SERVICE] != site.service:
                continue
            replicas = service.attrs["Spec"]["Mode"].get("Replicated", {}).get("Replicas", 0)
            for left in reversed(range(replicas)):
                time.sleep(over_s / replicas)
                service.reload()
                service.scale(left)

    def _left(self, site: Site, slot: Slot) -> str:
        """What there still is of the stack, in words."""
        of_stack = {"label": f"{NAMESPACE}={stack.project(site, slot)}"}
        names = [service.name for service in self._services(site, slot)]
        names += [network.name for network in self._docker.networks.list(filters=of_stack)]
        # Those whose service is gone are listed until their containers have ended.
        active = [task["ID"] for task in self._every_task(of_stack) if not swarms.has_ended(task)]
        return ", ".join([*names, *(f"task {one}" for one in active)])

    @translated
    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        tasks = self._tasks(self._own_services(site, slot))
        return {name_of(s, task): swarms.last_lines(task) for s, latest in tasks for task in latest}


def _wanted(service: Service) -> int:
    """At least: how many a global one has is Swarm's own knowledge."""
    replicated = service.attrs["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else 1


def _replica(service: Service, task: Task) -> Replica:
    state, earlier = task["Status"]["State"], task["Earlier"]
    shown = "created" if state in NOT_BEGUN else "exited" if state in FAILED else "running"
    said, spec = service.attrs["Spec"]["Labels"], task["Spec"]["ContainerSpec"]
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
    )
