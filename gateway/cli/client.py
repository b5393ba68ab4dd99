"""The CLI's one way to the controller. The only CLI module that knows httpx, imported late."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway import errors
from gateway.cli.connection import controller_socket

if TYPE_CHECKING:
    import httpx

# The controller says something at least every 2 s (progress.HEARTBEAT_S).
SILENCE_S = 30.0
# An order may have to wait until a stack is stopped (adapters.compose_command.COMMAND_TIMEOUT_S).
ORDER_TIMEOUT_S = 660.0
BY_EXIT_CODE: Mapping[int, type[errors.GatewayError]] = {
    2: errors.UsageError,
    3: errors.Bug,
    4: errors.Failed,
    5: errors.Busy,
    6: errors.Unreachable,
}


@dataclass(frozen=True, slots=True)
class Client:
    http: httpx.Client

    def get(self, path: str) -> Any:
        return self._answer("GET", path, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._answer("POST", path, body or {})

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        import httpx

        try:
            response = self.http.request(method, path, json=body, timeout=ORDER_TIMEOUT_S)
        except httpx.HTTPError as error:
            raise errors.ControllerUnreachable(f"the controller does not answer: {error}") from error
        try:
            answer = response.json()
        except ValueError as error:
            raise errors.UsageError(f"the controller does not know {path}") from error
        if response.is_success:
            return answer
        code = int(answer.get("exit_code", 3))
        error_type = BY_EXIT_CODE.get(code, errors.GatewayError)
        raise error_type("\n".join(answer["problems"]))

    def follow(self, number: int) -> Iterator[dict[str, Any]]:
        """The deployment's lines as they happen, heartbeats included; ends when it has ended."""
        import httpx

        try:
            with self.http.stream("GET", f"/deployments/{number}/progress") as response:
                for line in response.iter_lines():
                    yield json.loads(line)
        except httpx.HTTPError as error:
            raise errors.ControllerUnreachable(
                f"the controller went away ({error}); it finishes the deployment when it is back:"
                " see `gateway history`"
            ) from error


@contextmanager
def connect() -> Iterator[Client]:
    """Raises ControllerUnreachable with what to do."""
    with controller_socket() as path:
        import httpx  # 0.1 s, in which the way to the controller is made

        # There is no TLS on it; to read all that this machine trusts would take 0.05 s.
        transport = httpx.HTTPTransport(uds=path, verify=False)
        with httpx.Client(transport=transport, base_url="http://gateway", timeout=SILENCE_S) as http:
            yield Client(http)
