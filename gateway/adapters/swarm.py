"""Engine on Docker Swarm: stacks are deployed by `docker stack`, looked at through a manager's API."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from docker.models.services import Service

from gateway.adapters.compose_command import COMMAND_TIMEOUT_S, run_docker
from gateway.adapters.containers import LOG_LINES, OWNER, translated
from gateway.adapters.resolving import Resolving
from gateway.core import stack, swarm
from gateway.core.model import Release, Replica, Site, Slot
from gateway.errors import EngineError

LOOK_S = 0.2
NAMESPACE = "com.docker.stack.namespace"
# A task's states, in their order (moby, api/types/swarm/task.go). In the first it has no process yet.
NOT_BEGUN = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready")
REJECTED = "rejected"  # by its node, before it ran: there is no such image, or no such mount
FAILED = ("failed", REJECTED, "complete")  # ended by itself
TAKEN_AWAY = ("shutdown", "orphaned", "remove")

Task = Mapping[str, Any]


class SwarmEngine(Resolving):
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
        network, model = self._gateway_network(), stack.for_slot(release, site, slot)
        for service in model["services"].values():
            service["labels"][OWNER] = network
        if replicas is not None:
            model = stack.scaled(model, site.service, replicas)
        text = json.dumps(swarm.stack_file(model, site.service, stack.alias(site, slot), network))
        how = ["--with-registry-auth", "--prune", "--compose-file", "-"]
        run_docker(
            ["stack", "deploy", *how, stack.project(site, slot)],
            stdin=text,  # with each $ still doubled, as `compose config` writes it
            cancelled=cancelled,
        )
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
                for one in (task, *task["Earlier"]):
                    if one["Status"]["State"] == REJECTED:
                        raise EngineError(f"{_name(service, one)} was rejected: {one['Status'].get('Err')}")
                # One that has failed before is broken, however often it is tried again.
                if (state := task["Status"]["State"]) in NOT_BEGUN and not task["Earlier"]:
                    return f"{_name(service, task)} is {state}: {task['Status'].get('Err') or 'no error yet'}"
        return ""

    @translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        found = []
        for service, latest in self._tasks(self._own_services(site, slot)):
            found += [_replica(service, task) for task in latest]
        return found

    def _tasks(self, services: Sequence[Service]) -> list[tuple[Service, list[Task]]]:
        """Of each service the latest task of each place, with the number of those that failed before."""
        if not services:
            return []
        every = self._every_task({"service": [service.id for service in services]})
        places: dict[Any, dict[Any, list[Task]]] = defaultdict(lambda: defaultdict(list))
        for task in sorted(every, key=lambda task: str(task["CreatedAt"])):
            place = task.get("Slot") or task.get("NodeID")
            places[task["ServiceID"]][place].append(task)
        return [(service, _latest(places[service.id].values())) for service in services]

    def _every_task(self, filters: Mapping[str, Any]) -> list[Task]:
        found: list[Task] = self._docker.api.tasks(filters=dict(filters))  # type: ignore[no-untyped-call]
        return found

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
        active = [
            task["ID"]
            for task in self._every_task(of_stack)
            if task["Status"]["State"] not in (*FAILED, *TAKEN_AWAY)
        ]
        return ", ".join([*names, *(f"task {one}" for one in active)])

    @translated
    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        found = {}
        for service, latest in self._tasks(self._own_services(site, slot)):
            for task in latest:
                said = run_docker(["service", "logs", "--raw", "--tail", str(LOG_LINES), task["ID"]])
                lines = said.splitlines()[-LOG_LINES:]
                if why := task["Status"].get("Err"):
                    lines = [*lines[-LOG_LINES + 1 :], why]
                found[_name(service, task)] = lines
        return found

    def _services(self, site: Site, slot: Slot) -> list[Service]:
        found = self._docker.services.list(filters={"label": f"{NAMESPACE}={stack.project(site, slot)}"})
        return sorted(found, key=lambda service: str(service.name))

    def _own_services(self, site: Site, slot: Slot) -> list[Service]:
        owner = self._gateway_network()
        return [s for s in self._services(site, slot) if s.attrs["Spec"]["Labels"].get(OWNER) == owner]

    def _foreign_services(self, site: Site, slot: Slot) -> list[Service]:
        owner = self._gateway_network()
        return [s for s in self._services(site, slot) if s.attrs["Spec"]["Labels"].get(OWNER) != owner]

    def _refuse_foreign_services(self, site: Site, slot: Slot) -> None:
        if foreign := self._foreign_services(site, slot):
            raise EngineError(
                f"{foreign[0].name} is not this gateway's: another gateway or stack has the name"
                f" {stack.project(site, slot)!r}; give the site another name"
            )


def _wanted(service: Service) -> int:
    """At least: how many a global one has is Swarm's own knowledge."""
    replicated = service.attrs["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else 1


def _latest(places: Collection[Sequence[Task]]) -> list[Task]:
    found: list[Task] = []
    for tasks in places:
        latest = tasks[-1]
        if latest["Status"]["State"] not in TAKEN_AWAY:
            earlier = [one for one in tasks[:-1] if one["Status"]["State"] in FAILED]
            found.append({**latest, "Earlier": earlier})
    return found


def _name(service: Service, task: Task) -> str:
    return f"{service.name}.{task.get('Slot') or task.get('NodeID')}"


def _replica(service: Service, task: Task) -> Replica:
    status, earlier = task["Status"], task["Earlier"]
    state = status["State"]
    ended = task if state in FAILED else (earlier[-1] if earlier else None)
    code = (ended["Status"].get("ContainerStatus") or {}).get("ExitCode") if ended else None
    ends = "exited" if state in FAILED else "running"
    checked = bool(task["Spec"]["ContainerSpec"].get("Healthcheck"))
    return Replica(
        name=_name(service, task),
        service=service.attrs["Spec"]["Labels"].get(swarm.SERVICE, ""),
        state="created" if state in NOT_BEGUN else ends,
        # A task runs once its own health check has passed.
        health=("healthy" if checked else None) if state == "running" else "starting",
        exit_code=code if code is not None or not ended else 1,
        oom_killed=False,  # Swarm does not say
        restarts=len(earlier),
    )
