"""Docker's containers as both of our adapters need them: whose they are, and where they lie."""

from __future__ import annotations

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

from gateway.adapters.compose_command import refused, run_compose
from gateway.core import stack
from gateway.core.model import Site, Slot
from gateway.errors import EngineError, EngineUnreachable

# Two gateways on one engine have two networks: the network says whose a container is, also
# after a lost state volume.
OWNER = "gateway.network"
LOG_LINES = 30
RUNS = ("running", "restarting", "paused")
# Docker's own, where the service has no stop_grace_period.
STOP_TIMEOUT_S = 10

P = ParamSpec("P")
T = TypeVar("T")


def translated(call: Callable[P, T]) -> Callable[P, T]:
    """The one edge where Docker's exceptions become ours."""

    @wraps(call)
    def edge(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except APIError as error:
            if error.status_code in (502, 504):  # a proxy before Docker, which it can't reach
                raise EngineUnreachable(f"the Docker Engine can't be reached: {error.explanation}") from error
            raise refused(f"Docker: {error.explanation or error}") from error
        except (DockerException, requests.RequestException, OSError) as error:
            raise EngineUnreachable(
                f"the Docker Engine can't be reached: {error}. Is /var/run/docker.sock mounted?"
            ) from error

    return edge


class OnDocker:
    """The engine, and `docker compose` with what it needs to know of us."""

    def __init__(self, network: str | None, *, run: Callable[..., str] = run_compose) -> None:
        self._network_name = network
        self._client: docker.DockerClient | None = None
        self._run = run

    @property
    def _docker(self) -> docker.DockerClient:
        if self._client is None:
            # Docker's SDK keeps a connection for each of the last 25 addresses that it asked for; a
            # container's look is an address of its own.
            self._client = docker.DockerClient(version="auto", timeout=60, num_pools=4, **kwargs_from_env())
        return self._client

    def _containers(self, site: Site, slot: Slot) -> list[Container]:
        owner = self._gateway_network()
        return [c for c in self._of_project(site, slot) if c.labels.get(OWNER) == owner]

    def _foreign(self, site: Site, slot: Slot) -> list[Container]:
        """Containers under the slot's project name that are not ours."""
        owner = self._gateway_network()
        return [c for c in self._of_project(site, slot) if c.labels.get(OWNER) != owner]

    def _refuse_foreign(self, site: Site, slot: Slot) -> None:
        if foreign := self._foreign(site, slot):
            raise EngineError(
                f"{foreign[0].name} is not this gateway's: another gateway or project has the name"
                f" {stack.project(site, slot)!r}; give the site another name"
            )

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

    def _as_ours(self, model: stack.Model) -> stack.Model:
        """Labelled; and bind mounts name paths as we see them, but Docker wants them as the host does."""
        own = self._own_container()
        mounts = own.attrs["Mounts"] if own else []
        for service in model["services"].values():
            service["labels"][OWNER] = self._gateway_network()
            for volume in service.get("volumes") or []:
                if volume.get("type") == "bind":
                    volume["source"] = host_path(volume["source"], mounts)
        for kind in ("secrets", "configs"):
            for entry in (model.get(kind) or {}).values():
                if entry and "file" in entry:
                    entry["file"] = host_path(entry["file"], mounts)
        return model


def stop_with_grace(container: Container) -> None:
    """Its stop signal, then its own grace period, however long: Docker's SDK would wait 70 s at most."""
    grace_s = container.attrs["Config"].get("StopTimeout")
    container.stop(timeout=STOP_TIMEOUT_S if grace_s is None else grace_s)


def last_lines(container: Container) -> list[str]:
    text: bytes = container.logs(tail=LOG_LINES)
    return text.decode(errors="replace").splitlines()


def host_path(path: str, mounts: Sequence[Mapping[str, Any]]) -> str:
    """The host's path of ours, through the mount that lies closest above it."""
    for mount in sorted(mounts, key=lambda m: -len(m["Destination"])):
        target = mount["Destination"].rstrip("/")
        if path == target or path.startswith(f"{target}/"):
            return str(mount["Source"]) + path[len(target) :]
    return path
