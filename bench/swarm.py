"""The shipped gateways and controllers on the nodes of a Swarm, used through the CLI, and taken away."""

from __future__ import annotations

import json
import secrets
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import yaml

from bench.lab import CLI, DOMAIN, ROOT, SITE, Broken, Outcome, order, run
from bench.nodes import HERE, Node, await_that

STACK_FILE = ROOT / "compose" / "swarm" / "gateway.yaml"
NAME = "gateway"
UP_WITHIN_S, LOOK_S = 180.0, 0.3
NOT_LEADING = 6
OF_A_STACK = ("--filter", "label=com.docker.stack.namespace")


def app_stack(replicas: int, *, boot_s: float, **deploy: Any) -> str:
    """A stack file of compose/demo's application; its image comes with each deploy."""
    check = {
        "test": ["CMD", "python3", "-IS", "/app.py", "--check"],
        "start_period": "5s",
        "start_interval": "200ms",
        "interval": "2s",
    }
    app = {
        "image": "nothing:1",
        "environment": {"BOOT_S": f"{boot_s:g}"},
        "healthcheck": check,
        "deploy": {"replicas": replicas, **deploy},
    }
    return json.dumps({"services": {"app": app}})


class Swarm:
    """`with Swarm(nodes, image, stack, settings) as swarm:` everything of it is gone afterwards.

    `settings`: variables for gateways and controllers; "": without this one. `stack`: the application's stack
    file.
    """

    def __init__(self, nodes: Sequence[Node], image: str, stack: str, settings: Mapping[str, str]) -> None:
        self.nodes, self._image, self._stack, self._settings = nodes, image, stack, settings
        self._ends = ExitStack()

    def __enter__(self) -> Swarm:
        folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory()))
        (folder / "stack.yaml").write_text(self._stack)
        (folder / "gateway.yaml").write_text(json.dumps(self._model()))
        manager = self.nodes[0]
        self._ends.callback(self._take_away)
        try:
            manager.docker("secret", "create", "gateway_token", "-", stdin=secrets.token_hex(32))
            env = {
                "GATEWAY_IMAGE": self._image,
                "GATEWAY_DOMAIN": DOMAIN,
                "STACK_FILE": str(folder / "stack.yaml"),
                "DOCKER_HOST": manager.host,
                "DOCKER_SOCKET": str(manager.folder.parent / HERE / "docker.sock"),
            }
            run("docker", "stack", "deploy", "-c", str(folder / "gateway.yaml"), NAME, env=env)
            self._until(self.is_whole, "every gateway serves, and a controller leads")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def _model(self) -> dict[str, Any]:
        """The shipped file with the settings in it. In a second file, an empty value would not count."""
        model: dict[str, Any] = yaml.safe_load(STACK_FILE.read_text())
        for service in ("gateway", "controller"):
            environment = model["services"][service]["environment"] | self._settings
            model["services"][service]["environment"] = {k: v for k, v in environment.items() if v != ""}
        return model

    def _take_away(self) -> None:
        alive = [node for node in self.nodes if node.is_up]
        if alive:  # the controllers first, else they go on with their work
            names = alive[0].docker("stack", "ls", "--format", "{{.Name}}", check=False).split()
            for stack in [NAME, *(name for name in names if name != NAME)]:
                alive[0].docker("stack", "rm", stack, check=False)
        for node in alive:
            self._until(lambda node=node: _emptied(node), f"{node.name} is empty")  # type: ignore[misc]
            # With it goes which controller the gateway has obeyed last: the next one begins anew.
            node.docker("volume", "rm", "-f", f"{NAME}_routing")
        if alive:
            alive[0].docker("stack", "rm", NAME, check=False)  # its network, which all stacks were in
            self._until(lambda: not _networks(alive[0]), "the networks are gone")
            alive[0].docker("secret", "rm", "gateway_token", check=False)
            configs = alive[0].docker("config", "ls", "-q").split()
            alive[0].docker("config", "rm", *configs, check=False)

    def is_up(self) -> bool:
        with suppress(Broken):
            return self.cli("status", SITE).exit_code == 0
        return False

    def is_whole(self) -> bool:
        """A controller leads, and nothing is wrong with any gateway."""
        role = ("ps", "-q", "--filter", "label=gateway.role=gateway", "--filter", "health=healthy")
        if not all(node.is_up and node.docker(*role, check=False).split() for node in self.nodes):
            return False
        with suppress(Broken):
            lines = self._lines("status")
            return len(self.controllers()) > 1 and not any("problems" in line for line in lines)
        return False

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            await_that(holds, what, within_s=UP_WITHIN_S, every_s=LOOK_S)
        except Broken as error:
            raise Broken(f"{error}\n{self.report()}") from None

    def report(self) -> str:
        """What there is, for people."""
        manager = next(node for node in self.nodes if node.is_up)
        services = [f"{NAME}_gateway", f"{NAME}_controller"]
        parts = [manager.docker("stack", "ps", "--no-trunc", NAME, check=False)]
        parts += [manager.docker("service", "logs", "--tail", "40", one, check=False) for one in services]
        lines = (line for part in parts for line in part.splitlines())
        return "\n".join(line for line in lines if '{"time"' not in line)  # but for requests

    def controllers(self) -> dict[str, Node]:
        """Container -> its node."""
        role = ("ps", "-q", "--filter", "label=gateway.role=controller")
        return {
            container: node
            for node in self.nodes
            if node.is_up
            for container in node.docker(*role, check=False).split()
        }

    def leader(self) -> tuple[str, Node]:
        """The container of the controller that leads, and its node. Raises Broken when none does."""
        for container, node in self.controllers().items():
            if self.ask(container, node, "status").exit_code != NOT_LEADING:
                return container, node
        raise Broken("no controller leads")

    def cli(self, *args: str, progress: Callable[[str], None] | None = None) -> Outcome:
        """`gateway ARGS --json`, on the node whose controller leads."""
        return self.ask(*self.leader(), *args, progress=progress)

    def ask(
        self, container: str, node: Node, *args: str, progress: Callable[[str], None] | None = None
    ) -> Outcome:
        """The same of this controller, whether it leads or not."""
        return order(_which(container, node), *args, progress=progress)

    def deploy(
        self, image: str, *args: str, site: str = SITE, progress: Callable[[str], None] | None = None
    ) -> Outcome:
        return self.cli("deploy", site, "--image", f"app={image}", *args, progress=progress)

    def running(self, site: str = SITE) -> dict[str, Any] | None:
        """The deployment that has not ended. Raises Broken when no controller says."""
        said = self.cli("status", site).answer
        if "deployment" not in said:
            raise Broken(f"no status: {said}")
        found: dict[str, Any] | None = said["deployment"]
        return found

    def history(self, site: str = SITE) -> list[dict[str, Any]]:
        """Newest first."""
        return self._lines("history", site)

    def _lines(self, *args: str) -> list[dict[str, Any]]:
        """All that it says, not the last alone."""
        said = run(CLI, *args, "--json", env=_which(*self.leader()))
        return [json.loads(line) for line in said.splitlines()]

    def settled(self, site: str = SITE) -> None:
        """Nothing is left of the release before. Where a node was lost, nobody may lead for a moment."""

        def is_settled() -> bool:
            with suppress(Broken):
                return self.running(site) is None
            return False

        self._until(is_settled, f"{site} is settled")


def _emptied(node: Node) -> bool:
    """Whether there is no container of any stack. Those that have ended still hold a volume, and are removed.

    A node that is lost while Swarm removes a container keeps it: the task is forgotten by then.
    """
    if node.docker("ps", "-q", *OF_A_STACK).split():
        return False
    if left := node.docker("ps", "-aq", *OF_A_STACK).split():
        node.docker("rm", "-f", *left, check=False)
    return not left


def _networks(node: Node) -> list[str]:
    return node.docker("network", "ls", "-q", *OF_A_STACK).split()


def _which(container: str, node: Node) -> dict[str, str]:
    """The environment in which `gateway` talks to this controller."""
    return {"GATEWAY_CONTAINER": container, "DOCKER_HOST": node.host}
