"""Replicas on Swarm that can be told apart: each is a service of its own, with one task."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from docker.models.services import Service

from gateway.adapters.compose_command import COMMAND_TIMEOUT_S
from gateway.adapters.containers import translated
from gateway.adapters.services import (
    NOT_BEGUN,
    REJECTED,
    OnSwarm,
    has_ended,
    labels_of,
    name_of,
    of_stack,
)
from gateway.core import rolling, stack, swarm
from gateway.core.model import Release, Site, Slot
from gateway.errors import EngineError

LOOK_S = 0.2


class Numbered(OnSwarm):
    """What of ports.Engine a rolling deployment needs, and what a start waits for."""

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
        self._refuse_foreign_services(site, slot)
        found = self._serving(site, slot)
        model = stack.for_slot(release, site, slot)
        if found:  # Of the very image of the others: a tag may have moved since.
            image = found[0].attrs["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            model["services"][site.service]["image"] = image
        numbered = self._numbered(site, slot, release, replicas, found)
        unwanted = [service for service in found if number_of(service) > replicas]
        for service in unwanted:
            service.remove()  # type: ignore[no-untyped-call]
        self._until_ended(site, slot, unwanted)
        how = ["--resolve-image", "never"] if found else []
        self._deploy(site, slot, model, *how, cancelled=cancelled, replicas=numbered)
        self._until_begun(site, slot, cancelled)
        left = [number_of(service) for service in self._serving(site, slot)]
        if left != [*range(1, replicas + 1)]:
            raise EngineError(f"{slot} should have {replicas} replicas and has those numbered {left}")

    @translated
    def set_aside(self, site: Site, slot: Slot, numbers: Collection[int]) -> None:
        self._refuse_foreign_services(site, slot)
        failed = [service for service in self._serving(site, slot) if number_of(service) in numbers]
        for service in failed:
            service.scale(0)
        self._until_ended(site, slot, failed)

    def _numbered(
        self, site: Site, slot: Slot, release: Release, replicas: int, found: Collection[Service]
    ) -> dict[int, swarm.Replica]:
        """`found`: those that there are; which of them are aside stays as it is."""
        aside = {number_of(service) for service in found if is_aside(service)}
        most = rolling.replicas(release.stack["services"][site.service])
        return {
            number: swarm.Replica(stack.parts(site, slot, number, most), number in aside)
            for number in range(1, replicas + 1)
        }

    def _serving(self, site: Site, slot: Slot) -> list[Service]:
        """By their numbers."""
        return sorted((s for s in self._own_services(site, slot) if number_of(s)), key=number_of)

    def _until_ended(self, site: Site, slot: Slot, services: Collection[Service]) -> None:
        """Their tasks are told, and have their grace period."""
        until, ids = time.monotonic() + COMMAND_TIMEOUT_S, {service.id for service in services}
        # By the stack: Docker knows no tasks of a service that is gone.
        stacks = of_stack(site, slot)
        while ids and any(t["ServiceID"] in ids and not has_ended(t) for t in self._every_task(stacks)):
            if time.monotonic() > until:
                raise EngineError(f"tasks of {slot} do not end within {COMMAND_TIMEOUT_S:g} s")
            time.sleep(LOOK_S)

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


def number_of(service: Service) -> int:
    """0: it is none of those."""
    return int(labels_of(service).get(swarm.NUMBER) or 0)


def is_aside(service: Service) -> bool:
    return number_of(service) > 0 and _wanted(service) == 0


def _wanted(service: Service) -> int:
    """At least: how many a global one has is Swarm's own knowledge."""
    replicated = service.attrs["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else 1
