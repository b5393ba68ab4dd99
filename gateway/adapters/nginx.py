"""Proxy on the nginx beside us: orders through files, answers through its unix socket."""

from __future__ import annotations

import time
from collections.abc import Sequence

import httpx

from gateway.adapters import grpc_health
from gateway.adapters.counting import SOCKETS, Counts
from gateway.adapters.observed import ObservedAnswers
from gateway.adapters.routing import RoutingFiles, Shown, shown_from_flag
from gateway.core.admission import Admission, Door
from gateway.core.model import InFlight, ProbePolicy, ProbeResult, Routing, Sample, Site, Slot
from gateway.core.serving import Protocol
from gateway.core.stack import part
from gateway.errors import Failed, ProxyError
from gateway.paths import NGINX_SOCKET

ASK_TIMEOUT_S = 2.0
BODY_SHOWN = 300  # characters


class NginxProxy:
    """Implements ports.Proxy. Thread-safe."""

    def __init__(
        self, files: RoutingFiles, observed: ObservedAnswers, *, nginx_socket: str = NGINX_SOCKET
    ) -> None:
        self._files, self._observed = files, observed
        self._counts = Counts(nginx_socket)
        # There is no TLS on it; to read all that this machine trusts would take 0.05 s.
        transport = httpx.HTTPTransport(uds=nginx_socket, verify=False)
        self._http = httpx.Client(transport=transport, timeout=ASK_TIMEOUT_S)

    def publish(self, site: Site, routing: Routing) -> None:
        for slot in Slot:
            if routing.share or (routing.observed and routing.slot is slot):
                self._observed.reset(_key(site, slot))
        try:
            self._files.publish(site.name, routing)
        except OSError as error:
            raise ProxyError(f"the routing of {site.name} can't be written: {error}") from error

    def serving(self, site: Site) -> Routing:
        return self._shown(site).routing

    def admit(self, site: Site, admission: Admission) -> None:
        try:
            self._files.admit(site.name, admission)
        except OSError as error:
            raise ProxyError(f"who is let in to {site.name} can't be written: {error}") from error

    def admission(self, site: Site) -> Admission:
        shown = self._shown(site)
        # nginx knows no bound: the agent ends a pause.
        until = self._files.kept(site.name).ordered.admission.until if shown.door is Door.PAUSED else 0.0
        return Admission(shown.door, until)

    def _shown(self, site: Site) -> Shown:
        answer = self._ask(f"/serving/{site.name}")
        flag = answer.text.strip()
        if answer.status_code != 200 or not flag:
            raise ProxyError(f"nginx does not know {site.name} (status {answer.status_code})")
        try:
            return shown_from_flag(flag)
        except Failed as error:
            raise ProxyError(str(error)) from error

    def in_flight(self, site: Site, slot: Slot, parts: Sequence[int] = ()) -> InFlight:
        keys = [_key(site, slot), *(part(site, slot, within) for within in parts)]
        counted = self._counts.of
        return InFlight(sum(map(counted, keys)), sum(counted(f"{key}{SOCKETS}") for key in keys))

    def sample(self, site: Site, slot: Slot) -> Sample:
        return self._observed.sample(_key(site, slot), session_idle_s=site.session_idle_s)

    def probe(self, site: Site, slot: Slot) -> ProbeResult:
        policy, grpc = site.probe, site.proxying.protocol is Protocol.GRPC
        path = grpc_health.METHOD if grpc and policy.path == "/" else policy.path
        try:
            status, grpc_status, raw = self._get(site, slot, path)
        except httpx.TimeoutException:
            return _failed(f"no answer to {path} within {policy.timeout_s:g} s")
        except httpx.HTTPError as error:
            return _failed(f"no answer to {path}: {error}")
        body = raw.decode(errors="replace")
        if grpc:
            problem = grpc_health.problem(path, status, grpc_status, raw)
        else:
            problem = _problem(policy, status, body)
        return ProbeResult(not problem, status, body[:BODY_SHOWN], problem or f"{path} answered {status}")

    def _get(self, site: Site, slot: Slot, path: str) -> tuple[int, str | None, bytes]:
        """Status, gRPC's status if it stands in the header, and the first 64 KiB of the body."""
        grpc, timeout_s = site.proxying.protocol is Protocol.GRPC, site.probe.timeout_s
        host = site.domains[0].replace("*", "www")
        headers = {"User-Agent": "gateway-probe", "Connection": "close", "X-Gateway-Host": host}
        method, content = ("POST", grpc_health.REQUEST) if grpc else ("GET", None)
        request = self._http.build_request(
            method,
            f"http://{_key(site, slot)}.{'grpc-' if grpc else ''}probe{path}",
            headers=headers | (grpc_health.HEADERS if grpc else {}),
            content=content,
            timeout=timeout_s,
        )
        answer = self._http.send(request, stream=True)
        try:
            # httpx's timeout is for each read; a body that drips would never end.
            body, until = b"", time.monotonic() + timeout_s
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > 65536:
                    break
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the body did not end")
            return answer.status_code, answer.headers.get("grpc-status"), body
        finally:
            answer.close()

    def _ask(self, path: str) -> httpx.Response:
        try:
            return self._http.get(f"http://gateway{path}")
        except httpx.HTTPError as error:
            raise ProxyError(f"nginx does not answer on its internal socket: {error}") from error


def _key(site: Site, slot: Slot) -> str:
    """The slot's name in nginx's configuration."""
    return f"{site.name}_{slot}"


def _problem(policy: ProbePolicy, status: int, body: str) -> str:
    if not policy.status_min <= status <= policy.status_max:
        return f"{policy.path} answered {status}, wanted {policy.status_min}-{policy.status_max}"
    if policy.body is not None and policy.body not in body:
        return f"{policy.path} answered {status} without {policy.body!r} in its body"
    return ""


def _failed(detail: str) -> ProbeResult:
    return ProbeResult(ok=False, status=None, body="", detail=detail)
