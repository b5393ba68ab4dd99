"""Engine on Docker Compose: stacks are started by `docker compose`, looked at through Docker's API."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docker.models.containers import Container

from gateway.adapters.compose_command import PASSED_ON
from gateway.adapters.containers import RUNS, OnDocker, last_lines, stop_with_grace, translated
from gateway.core import labels, stack
from gateway.core.model import Release, Replica, Site, Slot
from gateway.errors import EngineError, StackInvalid

CONFIG_TIMEOUT_S = 30.0


class ComposeEngine(OnDocker):
    """Implements ports.Engine."""

    @translated
    def resolve(self, site: Site, images: Mapping[str, str], values: Mapping[str, str]) -> dict[str, Any]:
        if not Path(site.stack_file).is_file():
            raise StackInvalid(
                [f"{site.stack_file}: no such file; mount its folder into the gateway, or set the STACK_FILE"]
            )
        if taken := sorted(set(values) & set(PASSED_ON)):
            raise StackInvalid([f"--set {key}: reserved for docker compose itself" for key in taken])
        try:
            text = self._run(
                ["-p", stack.CANDIDATE, "-f", site.stack_file, "config", "--format", "json"],
                values=values,
                timeout_s=CONFIG_TIMEOUT_S,
            )
        except EngineError as error:
            raise StackInvalid([f"{site.stack_file}: {error}"]) from error
        self._docker.ping()  # compose reads a file without Docker; an order would then wait for it
        model: dict[str, Any] = json.loads(text)
        if found := stack.problems(model, site, images):
            raise StackInvalid(found)
        return stack.with_images(model, images)

    @translated
    def start(
        self, site: Site, slot: Slot, release: Release, *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._refuse_foreign(site, slot)
        model = self._as_ours(stack.for_slot(release, site, slot))
        project, text = ["-p", stack.project(site, slot), "-f", "-"], json.dumps(model)
        # Created, attached, then started: Docker's DNS knows the slot's alias from the first
        # moment, so that nginx's look-up (every 1-2 s) hides behind the application's own start.
        # Attached by us and not by the model, because compose would add the service's name as
        # an alias, and one site's `app` would answer for another's.
        self._run([*project, "create", "--remove-orphans"], stdin=text, cancelled=cancelled)
        containers = self._containers(site, slot)
        for container in containers:
            if _takes_traffic(container, site):
                self._attach(container, stack.alias(site, slot))
        wanted = stack.started_with_it(model)
        if stack.has_order(model):
            self._run([*project, "up", "-d", "--no-recreate", *wanted], stdin=text, cancelled=cancelled)
        else:
            # Compose knows nothing here that Docker doesn't, and takes 0.2-0.4 s to start itself.
            for container in containers:
                if container.labels.get("com.docker.compose.service") in wanted:
                    container.start()

    def _attach(self, container: Container, alias: str) -> None:
        network = self._docker.networks.get(self._gateway_network())
        attached = container.attrs["NetworkSettings"]["Networks"].get(network.name)
        aliases = list((attached or {}).get("Aliases") or [])
        if alias in aliases:
            return
        if attached is not None:  # the stack itself names our network; the container is not started yet
            network.disconnect(container)
        network.connect(container, aliases=[*aliases, alias])

    @translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        return [_replica(c.attrs) for c in self._containers(site, slot) if labels.HOOK not in c.labels]

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
    return bool(container.labels.get("com.docker.compose.service") == site.service)


def _replica(attrs: Mapping[str, Any]) -> Replica:
    state = attrs["State"]
    ended = state["Status"] in ("exited", "dead", "restarting")
    return Replica(
        name=attrs["Name"].lstrip("/"),
        service=attrs["Config"]["Labels"].get("com.docker.compose.service", ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status"),
        exit_code=state["ExitCode"] if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
        restarts=int(attrs.get("RestartCount") or 0),
        scheduler=attrs["Config"]["Labels"].get(labels.SCHEDULER) == "true",
    )
