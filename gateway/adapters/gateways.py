"""Which gateways there are: the tasks of the services that are labelled so, as a manager knows them.

Not by their name in DNS: there a task is found no sooner than its health check has passed (moby,
daemon/cluster/executor/container/controller.go), and a gateway is healthy once the controller has found it.
"""

from __future__ import annotations

from typing import Any

from gateway.adapters.containers import OnDocker, translated

LABEL = "gateway.role=gateway"


class GatewayTasks(OnDocker):
    @translated
    def __call__(self) -> dict[str, str]:
        """Address -> node, of those that are to run. Raises EngineError, EngineUnreachable."""
        services = self._docker.services.list(filters={"label": LABEL})
        if not services:
            return {}
        wanted = {"service": [service.id for service in services], "desired-state": "running"}
        tasks: list[dict[str, Any]] = self._docker.api.tasks(filters=wanted)  # type: ignore[no-untyped-call]
        nodes = {node.id: node.attrs["Description"]["Hostname"] for node in self._docker.nodes.list()}
        shared = self._control_network()
        return {
            address: nodes.get(task.get("NodeID"), "an unknown node")
            for task in tasks
            if (address := _address(task, shared))
        }

    def _control_network(self) -> str:
        """One that is shared with the gateways alone, where there is one."""
        own = self._own_container()
        networks = sorted(own.attrs["NetworkSettings"]["Networks"]) if own else []
        return next((name for name in networks if name != self._network_name), self._gateway_network())


def _address(task: dict[str, Any], network: str) -> str:
    for attachment in task.get("NetworksAttachments") or []:
        if attachment["Network"]["Spec"]["Name"] == network:
            return str(attachment["Addresses"][0]).partition("/")[0]
    return ""
