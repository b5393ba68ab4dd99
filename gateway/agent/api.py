"""The agent's HTTP API, for a controller in another container: JSON, and the token at every call."""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.agent.member import Member
from gateway.core.admission import Admission
from gateway.core.fleet import Change, State
from gateway.core.model import Routing, Site, Slot
from gateway.core.roster import Roster
from gateway.core.serving import DomainCertificate
from gateway.errors import GatewayError, ProxyError
from gateway.ports import DataPlane, Proxy
from gateway.settings import rules
from gateway.wire import ToldRoster, part, to_wire

Body = Mapping[str, Any]
Calls = dict[str, Callable[[Body], Any]]
LONGEST = 1 << 20  # bytes of a question


@dataclass(frozen=True, slots=True)
class Agent:
    """What the controller may ask of the gateway. `roster` is told which sites wait for a deployment."""

    plane: DataPlane
    roster: Callable[[Collection[str]], Roster]
    forget: Callable[[str], None]
    member: Member | None = None  # of a fleet: then its orders have numbers


def create_app(agent: Agent, token: str) -> Starlette:
    told = _Told()
    calls: Calls = {
        "in_flight": lambda body: agent.plane.proxy.in_flight(
            _site(body), part(body, "slot", Slot), part(body, "parts", list[int])
        ),
        "sample": lambda body: agent.plane.proxy.sample(_site(body), part(body, "slot", Slot)),
        "probe": lambda body: agent.plane.proxy.probe(_site(body), part(body, "slot", Slot)),
        "roster": lambda body: told.of(agent.roster(part(body, "waiting", list[str])), body.get("known")),
        "forget": lambda body: agent.forget(_name(part(body, "name", str))),
        "generation": lambda body: agent.plane.generation(),
        "certificates": lambda body: [_public(one) for one in agent.plane.certificates(_site(body))],
        **(_orders(agent.plane.proxy) if agent.member is None else _numbered_orders(agent.member)),
    }

    async def answer(request: Request) -> Response:
        if not hmac.compare_digest(
            request.headers.get("authorization", "").encode(), f"Bearer {token}".encode()
        ):
            return JSONResponse({"error": "the token is missing or wrong"}, status_code=401)
        raw = await request.body()
        if (call := calls.get(request.path_params["what"])) is None or len(raw) > LONGEST:
            return JSONResponse({"error": "no such question"}, status_code=404)
        try:
            return JSONResponse({"answer": to_wire(await run_in_threadpool(call, json.loads(raw)))})
        except (GatewayError, ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, status_code=409)

    return Starlette(routes=[Route("/{what}", answer, methods=["POST"])])


def _orders(proxy: Proxy) -> Calls:
    return {
        "publish": lambda body: proxy.publish(_site(body), part(body, "routing", Routing)),
        "serving": lambda body: proxy.serving(_site(body)),
        "admit": lambda body: proxy.admit(_site(body), part(body, "admission", Admission)),
        "admission": lambda body: proxy.admission(_site(body)),
    }


def _numbered_orders(member: Member) -> Calls:
    def order(body: Body) -> int:
        return part(body, "order", int)

    def who(body: Body) -> tuple[tuple[str, ...], str]:
        return part(body, "members", tuple[str, ...]), part(body, "own", str)

    return {
        "standing": lambda body: member.standing(),
        "lease": lambda body: member.lease(order(body), part(body, "since", float), part(body, "own", str)),
        "wake": lambda body: member.wake(_site(body), part(body, "routing", Routing)),
        "prepare": lambda body: member.prepare(order(body), part(body, "after", int), part(body, "own", str)),
        "commit": lambda body: member.commit(order(body), _site(body), part(body, "change", Change)),
        "take_over": lambda body: member.take_over(order(body), *who(body), _states(body)),
        "states": lambda body: member.states(),
        "served": lambda body: member.served(_site(body)),
    }


def _states(body: Body) -> dict[str, State]:
    states = part(body, "states", dict[str, State])
    return {_name(name): state for name, state in states.items()}


class _Told:
    """Versions of the roster, which is replaced as a whole: a thousand sites are not told every second."""

    def __init__(self) -> None:
        self._roster, self._version = Roster(), ""

    def of(self, roster: Roster, known: object) -> ToldRoster:
        if roster is not self._roster or not self._version:
            self._roster, self._version = roster, uuid.uuid4().hex
        return ToldRoster(self._version, None if known == self._version else roster)


def _site(body: Body) -> Site:
    site = part(body, "site", Site)
    _name(site.name)
    return site


def _name(name: str) -> str:
    """It becomes a part of paths. Raises ProxyError."""
    if not rules.SITE.accepts(name):
        raise ProxyError(f"{name!r} is no site's name: {rules.SITE.text}")
    return name


def _public(found: DomainCertificate) -> DomainCertificate:
    if found.certificate is None:
        return found
    return replace(found, certificate=replace(found.certificate, chain="", key=""))
