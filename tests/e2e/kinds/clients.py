"""The clients of the acceptance test, a process a kind: `python -m tests.e2e.kinds.clients KIND TARGET`.

TARGET is a Target as JSON. Until a SIGTERM; then what was begun is brought to its end, and each exchange is
printed as a line of JSON. No client sends anything twice, and each looks at what it was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

PATIENCE_S = 30.0  # no answer to one request may take longer
# What streams take, so that each deploy meets them in all their parts.
STREAM_S = 1.2
EVERY_S = 0.1
MESSAGES = round(STREAM_S / EVERY_S)


@dataclass(frozen=True, slots=True)
class Target:
    port: int
    https_port: int
    authority: str  # a PEM file that says whom to trust
    domain: str
    rpc_domain: str

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority)


@dataclass(slots=True)
class Exchange:
    """A request with its whole answer, a stream or a socket. Times: seconds since the epoch."""

    kind: str
    sent: float
    ended: float = 0.0
    deploy: int = 0  # that answered; 0: none
    wrong: str = ""  # why it is lost


@dataclass(slots=True)
class Told:
    """What the clients of one process saw, and whether they are to go on."""

    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    exchanges: list[Exchange] = field(default_factory=list)

    def goes_on(self) -> bool:
        return not self.stopping.is_set()

    @contextmanager
    def exchange(self, kind: str) -> Iterator[Exchange]:
        one = Exchange(kind, time.time())
        try:
            yield one
        except Exception as error:
            one.wrong = f"{type(error).__name__}: {error}"
        one.ended = time.time()
        self.exchanges.append(one)
        if one.wrong:
            print(f"{one.sent:.3f} {one.kind}: {one.wrong}", file=sys.stderr, flush=True)


Client = Callable[[Target, Told], Awaitable[None]]


async def think(seconds: float) -> None:
    """Spread, so that the clients do not send in step."""
    await asyncio.sleep(random.uniform(0.5, 1.5) * seconds)


def http_client(target: Target, *, http2: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"https://127.0.0.1:{target.https_port}" if http2 else f"http://127.0.0.1:{target.port}",
        headers={"Host": target.domain},
        http1=not http2,
        http2=http2,
        verify=target.tls,
        timeout=PATIENCE_S,
    )


# httpx's per-request option: the name that the certificate is for.
def named(target: Target) -> dict[str, str]:
    return {"sni_hostname": target.domain}


async def ask_number(client: httpx.AsyncClient, target: Target, one: Exchange) -> None:
    n, pad = random.randrange(10**6), random.choice((0, 100, 50_000))
    answer = await client.get(f"/numbers?n={n}&pad={pad}", extensions=named(target))
    assert answer.status_code == 200, f"HTTP {answer.status_code}"
    shown = answer.json()
    one.deploy = shown["deploy"]
    assert (shown["n"], len(shown["pad"])) == (n, pad)


async def post(client: httpx.AsyncClient, target: Target, one: Exchange) -> None:
    body = random.randbytes(random.randrange(1, 40_000))
    answer = await client.post("/digest", content=body, extensions=named(target))
    check_digest(answer, one, hashlib.sha256(body).hexdigest(), len(body))


def check_digest(answer: httpx.Response, one: Exchange, digest: str, length: int) -> None:
    assert answer.status_code == 200, f"HTTP {answer.status_code}"
    shown = answer.json()
    one.deploy = shown["deploy"]
    assert (shown["digest"], shown["length"]) == (digest, length)


async def http1(target: Target, told: Told) -> None:
    """Kept-alive connections: each has one request in flight, or none."""
    async with http_client(target, http2=False) as client:
        while told.goes_on():
            what = random.choice((ask_number, post))
            with told.exchange(f"HTTP/1.1 {'GET' if what is ask_number else 'POST'}") as one:
                await what(client, target, one)
            await think(0.05)


async def http2(target: Target, told: Told) -> None:
    """Several requests at a time on one connection."""
    async with http_client(target, http2=True) as client:

        async def some() -> None:
            while told.goes_on():
                what = random.choice((ask_number, post))
                with told.exchange(f"HTTP/2 {'GET' if what is ask_number else 'POST'}") as one:
                    await what(client, target, one)
                await think(0.1)

        await asyncio.gather(*(some() for _ in range(4)))


@dataclass(slots=True)
class SlowBody:
    """Chunks over STREAM_S; how many bytes they are together is not told before."""

    digest: Any = field(default_factory=hashlib.sha256)
    length: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(MESSAGES):
            chunk = random.randbytes(random.randrange(1, 20_000))
            self.digest.update(chunk)
            self.length += len(chunk)
            yield chunk
            await think(EVERY_S)


async def upload(target: Target, told: Told) -> None:
    async with http_client(target, http2=False) as client:
        while told.goes_on():
            with told.exchange("chunked upload") as one:
                body = SlowBody()
                answer = await client.post("/digest", content=body)
                check_digest(answer, one, body.digest.hexdigest(), body.length)


async def read_events(client: httpx.AsyncClient, target: Target, one: Exchange) -> None:
    url = f"/events?count={MESSAGES}&every_s={EVERY_S}"
    numbers, ended = [], False
    async with client.stream("GET", url, extensions=named(target)) as answer:
        assert answer.status_code == 200, f"HTTP {answer.status_code}"
        async for line in answer.aiter_lines():
            field_, _, value = line.partition(": ")
            if field_ == "id":
                numbers.append(int(value))
            elif field_ == "event":
                ended = value == "end"
            elif field_ == "data" and not ended:
                assert one.deploy in (0, int(value)), f"deploy {value} goes on for {one.deploy}"
                one.deploy = int(value)
    assert numbers == list(range(MESSAGES)), f"events {numbers}"
    assert ended, "it ended without its last event"


async def events(target: Target, told: Told) -> None:
    """In turn over HTTP/1.1 and HTTP/2."""
    while told.goes_on():
        for is_http2 in (False, True):
            async with http_client(target, http2=is_http2) as client:
                with told.exchange("server-sent events") as one:
                    await read_events(client, target, one)


@asynccontextmanager
async def socket_to(target: Target) -> AsyncIterator[ClientConnection]:
    async with connect(
        f"wss://{target.domain}/echo",
        host="127.0.0.1",
        port=target.https_port,
        ssl=target.tls,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
    ) as socket:
        yield socket


async def hear_echo(socket: ClientConnection, number: int, one: Exchange) -> None:
    await socket.send(str(number))
    deploy, came_back = str(await asyncio.wait_for(socket.recv(), PATIENCE_S)).split()
    assert int(came_back) == number, f"{came_back} came back for {number}"
    assert one.deploy in (0, int(deploy)), f"deploy {deploy} goes on for {one.deploy}"
    one.deploy = int(deploy)


async def websocket(target: Target, told: Told) -> None:
    """Visits of up to STREAM_S, at whose end the client says goodbye."""
    while told.goes_on():
        with told.exchange("WebSocket") as one:
            async with socket_to(target) as socket:
                for number in range(random.randrange(1, MESSAGES)):
                    await hear_echo(socket, number, one)
                    await think(EVERY_S)
            assert socket.close_code == CloseCode.NORMAL_CLOSURE, f"closed with {socket.close_code}"


async def staying(target: Target, told: Told) -> None:
    """A WebSocket that stays until the application says goodbye, and then is back at once."""
    while told.goes_on():
        with told.exchange("WebSocket that stays") as one:
            async with socket_to(target) as socket:
                number = 0
                with suppress(ConnectionClosed):
                    while told.goes_on():
                        await hear_echo(socket, number, one)
                        await think(EVERY_S)
                        number += 1
            # Else it was cut: a connection that just ends has 1006.
            said = CloseCode.SERVICE_RESTART if told.goes_on() else CloseCode.NORMAL_CLOSURE
            assert socket.close_code == said, f"closed with {socket.close_code}"


async def rpc(target: Target, told: Told) -> None:
    """Calls and streams on one connection."""
    options = [("grpc.default_authority", target.rpc_domain), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{target.port}", options) as channel:
        await asyncio.gather(
            *(calls(channel, told) for _ in range(3)),
            *(counts(channel, told) for _ in range(3)),
            *(echoes(channel, told) for _ in range(3)),
        )


def message(**values: float) -> bytes:
    return json.dumps(values).encode()


def check_number(answer: bytes, number: int, one: Exchange) -> None:
    shown = json.loads(answer)
    assert shown["n"] == number, f"{shown['n']} came for {number}"
    assert one.deploy in (0, shown["deploy"]), f"deploy {shown['deploy']} goes on for {one.deploy}"
    one.deploy = shown["deploy"]


async def calls(channel: grpc.aio.Channel, told: Told) -> None:
    ask = channel.unary_unary("/kinds.Numbers/Ask")
    while told.goes_on():
        with told.exchange("gRPC call") as one:
            n = random.randrange(10**6)
            check_number(await ask(message(n=n), timeout=PATIENCE_S), n, one)
        await think(0.05)


async def counts(channel: grpc.aio.Channel, told: Told) -> None:
    count = channel.unary_stream("/kinds.Numbers/Count")
    while told.goes_on():
        with told.exchange("gRPC server stream") as one:
            number = 0
            async for answer in count(message(count=MESSAGES, every_s=EVERY_S), timeout=PATIENCE_S):
                check_number(answer, number, one)
                number += 1
            assert number == MESSAGES, f"{number} of {MESSAGES} messages came"


async def echoes(channel: grpc.aio.Channel, told: Told) -> None:
    echo = channel.stream_stream("/kinds.Numbers/Echo")
    while told.goes_on():
        with told.exchange("gRPC both ways") as one:
            stream = echo(timeout=PATIENCE_S)
            for number in range(MESSAGES):
                await stream.write(message(n=number))
                check_number(await stream.read(), number, one)
                await think(EVERY_S)
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF
            assert await stream.code() is grpc.StatusCode.OK


# A process each, and how many clients it has.
KINDS: dict[str, tuple[Client, int]] = {
    "http1": (http1, 6),
    "http2": (http2, 2),
    "upload": (upload, 4),
    "events": (events, 4),
    "websocket": (websocket, 8),
    "staying": (staying, 8),
    "rpc": (rpc, 2),
}


async def run(kind: str, target: Target) -> list[Exchange]:
    told = Told()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.stopping.set)
    client, how_many = KINDS[kind]
    await asyncio.gather(*(client(target, told) for _ in range(how_many)))
    return told.exchanges


if __name__ == "__main__":
    for exchange in asyncio.run(run(sys.argv[1], Target(**json.loads(sys.argv[2])))):
        print(json.dumps(asdict(exchange)))
