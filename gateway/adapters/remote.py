"""Proxy, and the agent's roster, on another container: the agent is asked over HTTP (agent.api)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import httpx

from gateway import errors
from gateway.core.admission import Admission
from gateway.core.model import InFlight, ProbeResult, Routing, Sample, Site, Slot
from gateway.core.roster import Roster
from gateway.core.serving import DomainCertificate
from gateway.ports import DataPlane
from gateway.wire import ToldRoster, from_wire, to_wire

# Beyond what the agent itself waits for nginx.
ANSWER_TIMEOUT_S = 5.0
T = TypeVar("T")


class RemoteAgent:
    """Implements ports.Proxy. Thread-safe. Raises ProxyError; AgentUnreachable when there is no answer."""

    def __init__(self, address: tuple[str, int], token: str) -> None:
        self.address, self._where = address, f"{address[0]}:{address[1]}"
        self._http = httpx.Client(
            base_url=f"http://{self._where}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_TIMEOUT_S,
            trust_env=False,  # a proxy for the way out is none for the way in
        )

    def publish(self, site: Site, routing: Routing) -> None:
        self._ask("publish", site=site, routing=routing)

    def serving(self, site: Site) -> Routing:
        return self._call(Routing, "serving", site=site)

    def admit(self, site: Site, admission: Admission) -> None:
        self._ask("admit", site=site, admission=admission)

    def admission(self, site: Site) -> Admission:
        return self._call(Admission, "admission", site=site)

    def in_flight(self, site: Site, slot: Slot, parts: Sequence[int] = ()) -> InFlight:
        return self._call(InFlight, "in_flight", site=site, slot=slot, parts=list(parts))

    def sample(self, site: Site, slot: Slot) -> Sample:
        return self._call(Sample, "sample", site=site, slot=slot)

    def probe(self, site: Site, slot: Slot) -> ProbeResult:
        timeout_s = 2 * site.probe.timeout_s + ANSWER_TIMEOUT_S  # the header's, and the body's
        return self._call(ProbeResult, "probe", timeout_s, site=site, slot=slot)

    def roster(self, waiting: Collection[str], *, known: str) -> ToldRoster:
        """The sites as the agent has them. `waiting`: those whose deployment has not ended; `known`: the
        version that is known already."""
        return self._call(ToldRoster, "roster", waiting=sorted(waiting), known=known)

    def forget(self, site: str) -> None:
        self._ask("forget", name=site)

    def certificates(self, site: Site) -> tuple[DomainCertificate, ...]:
        """Without their keys."""
        return self._call(tuple[DomainCertificate, ...], "certificates", site=site)

    def generation(self) -> str | None:
        """The configuration that nginx runs; None: nobody answers."""
        try:
            return str(self._ask("generation") or "") or None
        except errors.AgentUnreachable:
            return None

    @property
    def plane(self) -> DataPlane:
        return DataPlane(self, self.certificates, self.serving, self.generation)

    def _call(
        self, kind: type[T], what: str, timeout_s: float = ANSWER_TIMEOUT_S, /, **arguments: object
    ) -> T:
        return from_wire(kind, self._ask(what, timeout_s, **arguments))

    def _ask(self, what: str, timeout_s: float = ANSWER_TIMEOUT_S, /, **arguments: object) -> Any:
        body: dict[str, Any] = {name: to_wire(value) for name, value in arguments.items()}
        try:
            answer = self._post(what, body, timeout_s)
        except httpx.HTTPError as error:
            raise errors.AgentUnreachable(
                f"the gateway's agent does not answer at {self._where}: {error}"
            ) from error
        if answer.status_code == 401:
            raise errors.AgentUnreachable(
                f"the agent at {self._where} has another token: both read GATEWAY_TOKEN_FILE at their start"
            )
        try:
            said = answer.json()
        except ValueError:
            said = {"error": f"it answered {answer.status_code}"}
        if not answer.is_success:
            raise errors.ProxyError(str(said.get("error", said)))
        return said["answer"]

    def _post(self, what: str, body: Mapping[str, Any], timeout_s: float) -> httpx.Response:
        try:
            return self._http.post(f"/{what}", json=body, timeout=timeout_s)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            # An agent that was restarted closed the connection; every question may be asked twice.
            return self._http.post(f"/{what}", json=body, timeout=timeout_s)


class TellsRoster(Protocol):
    """One agent, or all of a fleet as one."""

    def roster(self, waiting: Collection[str], *, known: str) -> ToldRoster: ...

    def forget(self, site: str) -> None: ...


class KnownRoster:
    """The last that the agent told. The agent learns by the same question which sites wait."""

    def __init__(self, agent: TellsRoster, waiting: Callable[[], Collection[str]]) -> None:
        self._agent, self._waiting = agent, waiting
        self._known, self._version = Roster(), ""
        self._lock = threading.Lock()

    def look(self) -> Roster:
        """Raises AgentUnreachable as long as nothing was told yet."""
        return self._known if self._version else self.ask()

    def ask(self) -> Roster:
        with self._lock:
            told = self._agent.roster(self._waiting(), known=self._version)
            if told.roster is not None:
                self._known, self._version = told.roster, told.version
            return self._known

    def forget(self, site: str) -> None:
        self._agent.forget(site)
        self.ask()
