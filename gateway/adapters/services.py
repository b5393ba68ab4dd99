"""Swarm's services and their tasks, as both of our adapters need them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from docker.models.services import Service

from gateway.adapters.compose_command import run_docker
from gateway.adapters.containers import LOG_LINES, OWNER, OnDocker
from gateway.core import stack, swarm
from gateway.core.model import Site, Slot
from gateway.errors import EngineError

NAMESPACE = "com.docker.stack.namespace"
# A task's states, in their order (moby, api/types/swarm/task.go). In the first it has no process yet.
NOT_BEGUN = ("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready")
REJECTED = "rejected"  # by its node, before it ran: there is no such image, or no such mount
COMPLETE = "complete"
FAILED = ("failed", REJECTED, COMPLETE)  # ended by itself
ORPHANED, _STOPPED = "orphaned", "Swarm stopped it, as when its node is drained"
TAKEN_AWAY = {ORPHANED: "its node was lost", "shutdown": _STOPPED, "remove": _STOPPED}

Task = Mapping[str, Any]


class OnSwarm(OnDocker):
    """A manager, which knows of all nodes."""

    def _deploy(
        self,
        site: Site,
        slot: Slot,
        model: stack.Model,
        *how: str,
        cancelled: Callable[[], bool],
        replicas: Mapping[int, swarm.Replica] | None = None,
    ) -> None:
        network = self._gateway_network()
        for service in model["services"].values():
            service["labels"][OWNER] = network
        file = swarm.stack_file(model, site.service, stack.alias(site, slot), network, replicas)
        if not file["services"]:  # of a rolling one that begins with none: there is nothing to deploy
            return
        text = json.dumps(file)
        run_docker(
            ["stack", "deploy", "--with-registry-auth", *how, "-c", "-", stack.project(site, slot)],
            stdin=text,  # with each $ still doubled, as `compose config` writes it
            cancelled=cancelled,
        )

    def _tasks(self, services: Sequence[Service]) -> list[tuple[Service, list[Task]]]:
        """Of each service the latest task of each place, with the number of those that failed before."""
        # By their stacks: that one of the services has gone meanwhile would be an error, and no news.
        stacks = sorted({labels_of(service)[NAMESPACE] for service in services})
        every = [task for one in stacks for task in self._every_task({"label": f"{NAMESPACE}={one}"})]
        places: dict[Any, dict[Any, list[Task]]] = defaultdict(lambda: defaultdict(list))
        each_node = {service.id for service in services if is_global(service)}
        for task in sorted(every, key=lambda task: str(task["CreatedAt"])):
            place = task.get("NodeID") if task["ServiceID"] in each_node else task.get("Slot")
            places[task["ServiceID"]][place].append(task)
        return [(service, _latest(places[service.id].values())) for service in services]

    def _every_task(self, filters: Mapping[str, Any]) -> list[Task]:
        """Those that ran on lost nodes as orphaned: Swarm itself calls them running for another day."""
        found: list[Task] = self._docker.api.tasks(filters=dict(filters))  # type: ignore[no-untyped-call]
        lost = {node.id for node in self._docker.nodes.list() if node.attrs["Status"]["State"] == "down"}
        return [_orphaned(t) if t.get("NodeID") in lost and not has_ended(t) else t for t in found]

    def _services(self, site: Site, slot: Slot) -> list[Service]:
        found = self._docker.services.list(filters=of_stack(site, slot))
        return sorted(found, key=lambda service: str(service.name))

    def _own_services(self, site: Site, slot: Slot) -> list[Service]:
        owner = self._gateway_network()
        return [s for s in self._services(site, slot) if labels_of(s).get(OWNER) == owner]

    def _foreign_services(self, site: Site, slot: Slot) -> list[Service]:
        owner = self._gateway_network()
        return [s for s in self._services(site, slot) if labels_of(s).get(OWNER) != owner]

    def _refuse_foreign_services(self, site: Site, slot: Slot) -> None:
        if foreign := self._foreign_services(site, slot):
            raise EngineError(
                f"{foreign[0].name} is not this gateway's: another gateway or stack has the name"
                f" {stack.project(site, slot)!r}; give the site another name"
            )


def of_stack(site: Site, slot: Slot) -> dict[str, str]:
    """The filter for all that belongs to the slot's stack."""
    return {"label": f"{NAMESPACE}={stack.project(site, slot)}"}


def is_global(service: Service) -> bool:
    return "Global" in service.attrs["Spec"]["Mode"]


def labels_of(service: Service) -> Mapping[str, str]:
    found: Mapping[str, str] = service.attrs["Spec"]["Labels"]
    return found


def _orphaned(task: Task) -> Task:
    return {**task, "Status": {**task["Status"], "State": ORPHANED}}


def _latest(places: Collection[Sequence[Task]]) -> list[Task]:
    found: list[Task] = []
    for tasks in places:
        latest = tasks[-1]
        if latest["Status"]["State"] not in TAKEN_AWAY:
            earlier = [one for one in tasks[:-1] if one["Status"]["State"] in FAILED]
            found.append({**latest, "Earlier": earlier})
    return found


def name_of(service: Service, task: Task) -> str:
    return f"{service.name}.{task.get('Slot') or task.get('NodeID')}"


def has_begun(task: Task) -> bool:
    """One that waits for its health check is said to be starting, as one whose container is being started."""
    checked = task["Spec"]["ContainerSpec"].get("Healthcheck")
    return task["Status"]["State"] not in (*NOT_BEGUN, *(() if checked else ("starting",)))


def has_ended(task: Task) -> bool:
    """Whether nothing of it runs any more."""
    return task["Status"]["State"] in (*FAILED, *TAKEN_AWAY)


def exit_code(task: Task) -> int | None:
    """None while it runs; 1 when it never ran, or Swarm took it away."""
    if not has_ended(task):
        return None
    if task["Status"]["State"] == COMPLETE:
        return 0
    # 0 is said of one that was not seen to end, too.
    return int((task["Status"].get("ContainerStatus") or {}).get("ExitCode") or 1)


def last_lines(task: Task) -> list[str]:
    """What it said, and what Swarm says of it."""
    state = task["Status"]["State"]
    logs = ["service", "logs", "--raw", "--tail", str(LOG_LINES), task["ID"]]
    try:
        said = [] if state in (*NOT_BEGUN, ORPHANED) else run_docker(logs).splitlines()
    except EngineError as error:  # its node does not answer, and is not taken for lost yet
        said = [str(error)]
    why = task["Status"].get("Err") or TAKEN_AWAY.get(state)
    return [*said, *([why] if why else [])][-LOG_LINES:]
