"""Engine on Docker Compose: stacks are started by `docker compose`, looked at through Docker's API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.utils import kwargs_from_env

from gateway.adapters.compose_command import PASSED_ON, run_compose
from gateway.core import stack
from gateway.core.model import Release, Replica, Site, Slot
from gateway.errors import EngineError, EngineUnreachable, StackInvalid

CONFIG_TIMEOUT_S = 30.0
# Two gateways on one engine have two networks: the network says whose a container is, also
# after a lost state volume.
OWNER = "gateway.network"

P = ParamSpec("P")
T = TypeVar("T")


def _translated(call: Callable[P, T]) -> Callable[P, T]:
    """The one edge where Docker's exceptions become ours."""

    @wraps(call)
    def edge(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except APIError as error:
            if error.status_code in (502, 504):  # a proxy before Docker, which it can't reach
                raise EngineUnreachable(f"the Docker Engine can't be reached: {error.explanation}") from error
            raise EngineError(f"Docker: {error.explanation or error}") from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineUnreachable(
                f"the Docker Engine can't be reached: {error}. Is /var/run/docker.sock mounted?"
            ) from error

    return edge


class ComposeEngine:
    """Implements ports.Engine."""

    def __init__(self, network: str | None, *, run: Callable[..., str] | None = None) -> None:
        self._network_name = network
        self._client: docker.DockerClient | None = None
        self._run = run or run_compose

    @property
    def _docker(self) -> docker.DockerClient:
        if self._client is None:
            # Docker's SDK keeps a connection for each of the last 25 addresses that it asked for; a
            # container's look is an address of its own.
            self._client = docker.DockerClient(version="auto", timeout=60, num_pools=4, **kwargs_from_env())
        return self._client

    @_translated
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

    @_translated
    def start(
        self, site: Site, slot: Slot, release: Release, *, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        if foreign := self._foreign(site, slot):
            raise EngineError(
                f"{foreign[0].name} is not this gateway's: another gateway or project has the name"
                f" {stack.project(site, slot)!r}; give the site another name"
            )
        model = self._with_host_paths(stack.for_slot(release, site, slot))
        for service in model["services"].values():
            service["labels"][OWNER] = self._gateway_network()
        project, text = ["-p", stack.project(site, slot), "-f", "-"], json.dumps(model)
        # Created, attached, then started: Docker's DNS knows the slot's alias from the first
        # moment, so that nginx's look-up (every 1-2 s) hides behind the application's own start.
        # Attached by us and not by the model, because compose would add the service's name as
        # an alias, and one site's `app` would answer for another's.
        self._run([*project, "create", "--remove-orphans"], stdin=text, cancelled=cancelled)
        containers = self._containers(site, slot)
        for container in containers:
            if container.labels.get("com.docker.compose.service") == site.service:
                self._attach(container, stack.alias(site, slot))
        if stack.has_order(model):
            self._run([*project, "up", "-d", "--no-recreate"], stdin=text, cancelled=cancelled)
        else:
            # Compose knows nothing here that Docker doesn't, and takes 0.2-0.4 s to start itself.
            for container in containers:
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

    @_translated
    def replicas(self, site: Site, slot: Slot) -> Sequence[Replica]:
        return [_replica(c.attrs) for c in self._containers(site, slot)]

    @_translated
    def stop(self, site: Site, slot: Slot) -> None:
        if self._foreign(site, slot):
            return  # not ours to stop; a start over it was refused
        self._run(["-p", stack.project(site, slot), "down", "--remove-orphans"])
        if left := self._containers(site, slot):
            raise EngineError(f"still there after `compose down`: {', '.join(c.name or '?' for c in left)}")

    @_translated
    def logs(self, site: Site, slot: Slot) -> Mapping[str, Sequence[str]]:
        return {
            c.name or "?": c.logs(tail=30).decode(errors="replace").splitlines()
            for c in self._containers(site, slot)
        }

    def _containers(self, site: Site, slot: Slot) -> list[Container]:
        owner = self._gateway_network()
        return [c for c in self._of_project(site, slot) if c.labels.get(OWNER) == owner]

    def _foreign(self, site: Site, slot: Slot) -> list[Container]:
        """Containers under the slot's project name that are not ours."""
        owner = self._gateway_network()
        return [c for c in self._of_project(site, slot) if c.labels.get(OWNER) != owner]

    def _of_project(self, site: Site, slot: Slot) -> list[Container]:
        label = f"com.docker.compose.project={stack.project(site, slot)}"
        # A container may go between the list and the look: then it is gone, not an error.
        found: list[Container] = self._docker.containers.list(
            all=True, filters={"label": label}, ignore_removed=True
        )
        return found

    def _own_container(self) -> Container | None:
        """The container that we run in; None on a host."""
        # Docker mounts /etc/hostname from the container's own folder. The host's name itself may
        # have been set to anything.
        found = re.search(r"/containers/([0-9a-f]{64})/hostname ", Path("/proc/self/mountinfo").read_text())
        try:
            return self._docker.containers.get(found[1]) if found else None
        except NotFound:
            return None

    def _gateway_network(self) -> str:
        if self._network_name is None:
            own = self._own_container()
            networks = list(own.attrs["NetworkSettings"]["Networks"]) if own else []
            if not networks:
                raise EngineError("no network is shared with the stacks: set GATEWAY_NETWORK")
            self._network_name = networks[0]
        return self._network_name

    def _with_host_paths(self, model: dict[str, Any]) -> dict[str, Any]:
        """Bind mounts name paths as we see them; Docker wants them as the host does."""
        own = self._own_container()
        mounts = own.attrs["Mounts"] if own else []
        for service in model["services"].values():
            for volume in service.get("volumes") or []:
                if volume.get("type") == "bind":
                    volume["source"] = host_path(volume["source"], mounts)
        for kind in ("secrets", "configs"):
            for entry in (model.get(kind) or {}).values():
                if entry and "file" in entry:
                    entry["file"] = host_path(entry["file"], mounts)
        return model


def host_path(path: str, mounts: Sequence[Mapping[str, Any]]) -> str:
    """The host's path of ours, through the mount that lies closest above it."""
    for mount in sorted(mounts, key=lambda m: -len(m["Destination"])):
        target = mount["Destination"].rstrip("/")
        if path == target or path.startswith(f"{target}/"):
            return str(mount["Source"]) + path[len(target) :]
    return path


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
    )
