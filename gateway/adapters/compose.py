"""Engine on Docker Compose: stacks are started by `docker compose`, looked at through Docker's API."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from docker.models.containers import Container

from gateway.adapters.containers import RUNS, last_lines, stop_with_grace, translated
from gateway.adapters.resolving import Resolving
from gateway.core import labels, rolling, stack
from gateway.core.model import Release, Replica, Site, Slot, Strategy
from gateway.errors import EngineError

SERVICE = "com.docker.compose.service"


class ComposeEngine(Resolving):
    """Implements ports.Engine."""

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
        self._refuse_foreign(site, slot)
        model = self._as_ours(stack.for_slot(release, site, slot))
        if replicas is not None:
            model = stack.scaled(model, site.service, replicas)
        project, text = ["-p", stack.project(site, slot), "-f", "-"], json.dumps(model)
        # Created, attached, then started: Docker's DNS knows the slot's alias from the first
        # moment, so that nginx's look-up (every 1-2 s) hides behind the application's own start.
        # Attached by us and not by the model, because compose would add the service's name as
        # an alias, and one site's `app` would answer for another's.
        self._run([*project, "create", "--remove-orphans"], stdin=text, cancelled=cancelled)
        containers = self._containers(site, slot)
        for container in containers:
            if _takes_traffic(container, site):
                self._attach(container, _names(site, slot, release, container))
        wanted = stack.started_with_it(model)
        if stack.has_order(model):
            self._run([*project, "up", "-d", "--no-recreate", *wanted], stdin=text, cancelled=cancelled)
        else:
            # Compose knows nothing here that Docker doesn't, and takes 0.2-0.4 s to start itself.
            for container in containers:
                if container.labels.get(SERVICE) in wanted:
                    container.start()

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
        self._refuse_foreign(site, slot)
        found = self._replicas(site, slot)
        aside = [c for c in found if self._is_aside(c, site)]
        # One that has ended is made anew: a person may have said that it is to be tried again.
        ended = [c for c in found if c.status in ("exited", "dead") and c not in aside]
        unwanted = [c for c in found if _number(c) > replicas or c in ended]
        for container in unwanted:
            if container.status == "running":
                stop_with_grace(container)
            container.remove(v=True, force=True)
        # One that was made and not started yet, when whoever made it was killed, is not there either.
        if sum(c.status in RUNS or c in aside for c in found if c not in unwanted) < replicas:
            self._grow(site, slot, release, replicas, cancelled)
        left = self._replicas(site, slot)
        if [_number(c) for c in left] != [*range(1, replicas + 1)]:
            names = ", ".join(c.name or "?" for c in left) or "none"
            raise EngineError(f"{slot} should have {replicas} replicas and has: {names}")

    def _grow(
        self, site: Site, slot: Slot, release: Release, replicas: int, cancelled: Callable[[], bool]
    ) -> None:
        model = stack.scaled(self._as_ours(stack.for_slot(release, site, slot)), site.service, replicas)
        if run := self._replicas(site, slot):
            # Of the very image of the others: a tag may have moved since.
            model["services"][site.service] |= {"image": run[0].attrs["Image"], "pull_policy": "never"}
        project, text = ["-p", stack.project(site, slot), "-f", "-"], json.dumps(model)
        self._run([*project, "create", "--no-recreate", site.service], stdin=text, cancelled=cancelled)
        new = [c for c in self._replicas(site, slot) if c.status == "created"]
        for container in new:
            self._attach(container, _names(site, slot, release, container))
        if stack.has_order(model):
            only = ["--no-recreate", "--no-deps", site.service]
            self._run([*project, "up", "-d", *only], stdin=text, cancelled=cancelled)
        else:
            for container in new:
                container.start()

    def _replicas(self, site: Site, slot: Slot) -> list[Container]:
        """Of the service that takes the traffic, by their numbers."""
        found = (c for c in self._containers(site, slot) if c.labels.get(SERVICE) == site.service)
        return sorted(found, key=_number)

    def _attach(self, container: Container, names: Sequence[str]) -> None:
        network = self._docker.networks.get(self._gateway_network())
        attached = self._attached(container)
        aliases = list((attached or {}).get("Aliases") or [])
        if set(names) <= set(aliases):
            return
        if attached is not None:  # the stack itself names our network; the container is not started yet
            network.disconnect(container)
        network.connect(container, aliases=[*aliases, *names])

    @translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        return [
            _replica(c.attrs, self._part_number(c, site, slot), aside=self._is_aside(c, site))
            for c in self._containers(site, slot)
            if labels.HOOK not in c.labels
        ]

    def _part_number(self, container: Container, site: Site, slot: Slot) -> int:
        attached = self._attached(container) or {}
        own = stack.part(site, slot, _number(container))
        known = self._is_aside(container, site) or own in (attached.get("Aliases") or [])
        return _number(container) if known else 0

    @translated
    def set_aside(self, site: Site, slot: Slot, numbers: Collection[int]) -> None:
        self._refuse_foreign(site, slot)
        network = self._docker.networks.get(self._gateway_network())
        for container in self._replicas(site, slot):
            if _number(container) not in numbers:
                continue
            # It may be answering somebody. Stopped first, because to leave the network cuts that.
            if container.status in RUNS:
                stop_with_grace(container)
            # Docker may start it again when it starts itself.
            if self._attached(container) is not None:
                network.disconnect(container, force=True)

    def _is_aside(self, container: Container, site: Site) -> bool:
        """Of a rolling site, because what other sites have is never taken off the network by us."""
        ours = site.strategy is Strategy.ROLLING and _takes_traffic(container, site)
        # One that is new is attached before it is started.
        return ours and container.status != "created" and self._attached(container) is None

    def _attached(self, container: Container) -> dict[str, Any] | None:
        networks: Mapping[str, dict[str, Any]] = container.attrs["NetworkSettings"]["Networks"]
        return networks.get(self._gateway_network())

    @translated
    def stop(self, site: Site, slot: Slot, *, over_s: float = 0.0) -> None:
        if self._foreign(site, slot):
            return  # not ours to stop; a start over it was refused
        if over_s:
            self._stop_in_turn(site, slot, over_s)
        self._run(["-p", stack.project(site, slot), "down", "--remove-orphans"])
        if left := self._containers(site, slot):
            raise EngineError(f"still there after `compose down`: {', '.join(c.name or '?' for c in left)}")

    def _stop_in_turn(self, site: Site, slot: Slot, over_s: float) -> None:
        """The replicas that take the traffic, each at a moment of its own part of the time.

        `compose down` then finds them stopped. Else it would tell them a second time, which to many servers
        means at once.
        """
        serving = [c for c in self._containers(site, slot) if _takes_traffic(c, site) and c.status in RUNS]

        def stop(number: int) -> None:
            time.sleep((number + random.random()) * over_s / len(serving))
            stop_with_grace(serving[number])

        if len(serving) > 1:
            with ThreadPoolExecutor(len(serving)) as pool:
                list(pool.map(stop, range(len(serving))))

    @translated
    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        return {c.name or "?": last_lines(c) for c in self._containers(site, slot)}


def _takes_traffic(container: Container, site: Site) -> bool:
    return bool(container.labels.get(SERVICE) == site.service)


def _number(container: Container) -> int:
    return int(container.labels.get("com.docker.compose.container-number") or 0)


def _names(site: Site, slot: Slot, release: Release, container: Container) -> list[str]:
    """Under which nginx finds it."""
    names = [stack.alias(site, slot)]
    if site.strategy is Strategy.ROLLING:
        most = rolling.replicas(release.stack["services"][site.service])
        names += stack.parts(site, slot, _number(container), most)
    return names


def _replica(attrs: Mapping[str, Any], number: int, *, aside: bool) -> Replica:
    state = attrs["State"]
    ended = state["Status"] in ("exited", "dead", "restarting")
    return Replica(
        name=attrs["Name"].lstrip("/"),
        service=attrs["Config"]["Labels"].get(SERVICE, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        exit_code=state["ExitCode"] if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        restarts=int(attrs.get("RestartCount") or 0),
        scheduler=attrs["Config"]["Labels"].get(labels.SCHEDULER) == "true",
        number=number,
        aside=aside,
    )
