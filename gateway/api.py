"""The controller's HTTP API on a unix socket: parses, calls one function, answers JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway import errors
from gateway.controller import ACCEPT, REFUSE, Controller, Order
from gateway.core.model import Phase, Slot
from gateway.core.plan import Request
from gateway.core.transitions import TERMINAL, WAITING
from gateway.metrics import Metrics, as_text, as_values
from gateway.views import Views

Body = Mapping[str, Any]
Line = dict[str, Any] | None  # of a deployment's progress; None is a heartbeat
MAY_STOP_AT = {Phase.READY, *WAITING, *TERMINAL}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus' text format
HTTP_STATUS = {1: 409, 2: 400, 4: 500, 5: 423, 6: 503}


def create_app(controller: Controller, views: Views, metrics: Metrics) -> Starlette:
    """Every answer is JSON; an error is {"error", "problems", "exit_code"}."""

    def told(order: Order | None) -> Any:
        if order is None:
            return None
        return views.describe(order.deployment.number) | {"back": order.back, "warning": order.warning}

    def told_whole(number: int) -> Callable[[Line], Line]:
        """Where a follower may stop it gets the whole deployment, so that it need not ask again."""

        def whole(line: Line) -> Line:
            stops = line and "waiting" not in line and line["step"] in MAY_STOP_AT
            return {**line, "deployment": views.describe(number)} if line and stops else line

        return whole

    verbs: dict[str, Callable[[str, Body], Any]] = {
        "deploy": lambda site, body: told(Order(controller.deploy(site, _request(body)))),
        "rollback": lambda site, body: told(controller.rollback(site, **_rollback(body))),
        "switch": lambda site, body: told(controller.switch(site, body.get("slot"))),
        "abort": lambda site, body: told(controller.abort(site)),
        "cleanup": lambda site, body: controller.cleanup(site),
        **_doors(controller, views),
        **_looks(views),
    }

    async def verb(request: HttpRequest) -> Response:
        call = verbs[request.path_params["verb"]]
        raw = await request.body()
        body = json.loads(raw) if raw else {}
        return JSONResponse(await run_in_threadpool(call, request.path_params["site"], body))

    async def sites(request: HttpRequest) -> Response:
        return JSONResponse(views.names())

    async def configuration(request: HttpRequest) -> Response:
        return JSONResponse(views.configuration())

    async def deployment(request: HttpRequest) -> Response:
        return JSONResponse(await run_in_threadpool(views.describe, request.path_params["number"]))

    async def progress(request: HttpRequest) -> Response:
        number = request.path_params["number"]
        lines = map(told_whole(number), views.progress(number).follow())
        return StreamingResponse(_ndjson(lines), media_type="application/x-ndjson")

    async def measured(request: HttpRequest) -> Response:
        return JSONResponse(await run_in_threadpool(_measured, metrics))

    routes = [
        Route("/sites", sites),
        Route("/configuration", configuration),
        Route("/metrics", measured),
        Route("/sites/{site}/{verb}", _known(verb, verbs), methods=["GET", "POST"]),
        Route("/deployments/{number:int}", deployment),
        Route("/deployments/{number:int}/progress", progress),
    ]
    return Starlette(routes=routes, exception_handlers={errors.GatewayError: _refused, Exception: _bug})


def _looks(views: Views) -> dict[str, Callable[[str, Body], Any]]:
    return {
        "status": lambda site, body: views.status(site),
        "history": lambda site, body: views.history(site),
        "plan": lambda site, body: views.plan(site, _request(body)),
        "kubernetes": lambda site, body: views.kubernetes(site, _request(body), **_exported(body)),
    }


def _doors(controller: Controller, views: Views) -> dict[str, Callable[[str, Body], Any]]:
    return {
        "pause": lambda site, body: views.admitted(site, controller.pause(site, _seconds(body))),
        "resume": lambda site, body: views.admitted(site, controller.unpause(site)),
        "maintenance": lambda site, body: views.admitted(site, controller.maintenance(site, _to(body))),
    }


def _measured(metrics: Metrics) -> dict[str, Any]:
    found = metrics.look()
    return {"text": as_text(found), "samples": as_values(found)}


def create_metrics_app(metrics: Metrics) -> Starlette:
    """For a port of its own: whoever reaches it can read the metrics, and do nothing else."""

    async def scrape(request: HttpRequest) -> Response:
        text = await run_in_threadpool(lambda: as_text(metrics.look()))
        return Response(text, media_type=CONTENT_TYPE)

    return Starlette(routes=[Route("/metrics", scrape)])


def create_standby_app(instead: Callable[[], str]) -> Starlette:
    """Of a controller that does not lead. `instead`: who does, or why nobody does."""

    async def elsewhere(request: HttpRequest) -> Response:
        raise errors.ControllerUnreachable(f"this controller does not lead; {instead()}")

    methods = ["GET", "POST"]
    route = Route("/{path:path}", elsewhere, methods=methods)
    return Starlette(routes=[route], exception_handlers={errors.GatewayError: _refused})


def _known(
    handler: Callable[[HttpRequest], Awaitable[Response]], verbs: Mapping[str, Any]
) -> Callable[[HttpRequest], Awaitable[Response]]:
    async def checked(request: HttpRequest) -> Response:
        if request.path_params["verb"] not in verbs:
            raise errors.UsageError(f"no verb {request.path_params['verb']!r}")
        return await handler(request)

    return checked


def _request(body: Body) -> Request:
    return Request(
        images=dict(body.get("images") or {}),
        values=dict(body.get("values") or {}),
        staged=bool(body.get("staged")),
        by=str(body.get("by", "")),
    )


def _exported(body: Body) -> dict[str, Any]:
    try:
        return {"slot": Slot(body["slot"]), "share": int(body["share"]), "parent": str(body["parent"])}
    except (KeyError, ValueError) as error:
        raise errors.UsageError(f"slot, share and parent are wrong or missing: {error}") from error


def _rollback(body: Body) -> dict[str, Any]:
    across = ACCEPT if body.get("force") is True else REFUSE
    return {"to": body.get("to"), "by": body.get("by", ""), "across": across}


def _seconds(body: Body) -> float:
    found = body.get("for_s")
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise errors.UsageError("for_s must be a number of seconds")
    return float(found)


def _to(body: Body) -> str:
    return str(body.get("to"))


def _ndjson(lines: Iterator[Line]) -> Iterator[str]:
    for line in lines:
        yield json.dumps(line or {"heartbeat": True}) + "\n"


async def _refused(request: HttpRequest, error: Exception) -> Response:
    code = getattr(error, "exit_code", 3)
    problems = list(getattr(error, "problems", [str(error)]))
    body = {"error": str(error), "problems": problems, "exit_code": code}
    return JSONResponse(body, status_code=HTTP_STATUS[code])


async def _bug(request: HttpRequest, error: Exception) -> Response:
    said = f"bug in the controller: {type(error).__name__}: {error}"
    return JSONResponse({"error": said, "problems": [said], "exit_code": 3}, status_code=500)
