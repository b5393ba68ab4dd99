"""HTTP, WebSockets, server-sent events and uploads, as an application of a usual make serves them.

GET  /numbers?n=N&pad=P     which deploy answers, N, and P characters
POST /digest                which deploy answers, SHA-256 and length of the body
GET  /events?count=C&every_s=S   C numbered events, one each S seconds, then the event `end`
     /echo                  a WebSocket: each message comes back after the deploy's number
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

WHO = {"release": os.environ["RELEASE"], "deploy": int(os.environ["DEPLOY"])}


async def numbers(request: Request) -> Response:
    asked = request.query_params
    return JSONResponse(WHO | {"n": int(asked.get("n", 0)), "pad": "x" * int(asked.get("pad", 0))})


async def digest(request: Request) -> Response:
    found, length = hashlib.sha256(), 0
    async for chunk in request.stream():
        found.update(chunk)
        length += len(chunk)
    return JSONResponse(WHO | {"digest": found.hexdigest(), "length": length})


async def events(request: Request) -> Response:
    count, every_s = int(request.query_params["count"]), float(request.query_params["every_s"])

    async def told() -> AsyncIterator[str]:
        for number in range(count):
            yield f"id: {number}\ndata: {WHO['deploy']}\n\n"
            await asyncio.sleep(every_s)
        yield f"event: end\ndata: {count}\n\n"

    headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store"}
    return StreamingResponse(told(), media_type="text/event-stream", headers=headers)


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for message in socket.iter_text():
        await socket.send_text(f"{WHO['deploy']} {message}")


app = Starlette(
    routes=[
        Route("/numbers", numbers),
        Route("/digest", digest, methods=["POST"]),
        Route("/events", events),
        WebSocketRoute("/echo", echo),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="0.0.0.0", port=8000, log_level="warning")
