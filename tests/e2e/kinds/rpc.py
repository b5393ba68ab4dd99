"""A gRPC server without generated code: messages are JSON.

/kinds.Numbers/Ask     {"n": N} -> {"n": N, "deploy": D}
/kinds.Numbers/Count   {"count": C, "every_s": S} -> a stream of C of these
/kinds.Numbers/Echo    a stream, each message answered by one
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc

DEPLOY = int(os.environ["DEPLOY"])
GRACE_S = 5.0


def answer(n: int) -> bytes:
    return json.dumps({"n": n, "deploy": DEPLOY}).encode()


async def check(_: bytes, __: Any) -> bytes:
    return bytes([8, 1])  # grpc.health.v1.HealthCheckResponse: status SERVING


async def ask(message: bytes, _: Any) -> bytes:
    return answer(json.loads(message)["n"])


async def count(message: bytes, _: Any) -> AsyncIterator[bytes]:
    asked = json.loads(message)
    for number in range(asked["count"]):
        yield answer(number)
        await asyncio.sleep(asked["every_s"])


async def echo(messages: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    async for message in messages:
        yield answer(json.loads(message)["n"])


async def serve() -> None:
    server = grpc.aio.server()
    of_numbers = {
        "Ask": grpc.unary_unary_rpc_method_handler(ask),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    of_health = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("kinds.Numbers", of_numbers),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", of_health),
        )
    )
    server.add_insecure_port("0.0.0.0:8000")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.start()
    await stopping.wait()
    await server.stop(GRACE_S)


if __name__ == "__main__":
    asyncio.run(serve())
