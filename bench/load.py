"""The load client: HTTP/1.1 on kept-alive connections, which never sends a request twice."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.analysis import Record

READ_TIMEOUT_S = 30.0
# After a connection could not be opened: that request is lost; the next one waits a little.
REFUSED_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    host: str
    port: int
    domain: str
    path: str = "/"

    @property
    def request(self) -> bytes:
        return self.head("GET")

    def head(self, method: str, *more: str) -> bytes:
        fields = (f"Host: {self.domain}", "User-Agent: bench", *more)
        return "\r\n".join([f"{method} {self.path} HTTP/1.1", *fields, "", ""]).encode()


class Load:
    """`connections` clients in one thread, each with a request in flight or thinking.

    with Load(target) as load: ...; then load.records
    """

    def __init__(self, target: Target, *, connections: int = 24, think_s: float = 0.02) -> None:
        self.records: list[Record] = []
        self._target, self._connections, self._think_s = target, connections, think_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Lets the requests in flight end; sends no more."""
        self._stop.set()
        self._thread.join(READ_TIMEOUT_S + 5)

    def wait_for(self, requests: int, *, timeout_s: float) -> None:
        """Until so many requests have ended, or the time is up."""
        deadline = time.monotonic() + timeout_s
        while len(self.records) < requests and time.monotonic() < deadline:
            time.sleep(0.05)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(random.Random(i)) for i in range(self._connections)))

    def connection(self) -> Connection:
        """One client's."""
        return Connection(self._target)

    async def _client(self, dice: random.Random) -> None:
        connection = self.connection()
        while not self._stop.is_set():
            record = await connection.exchange()
            self.records.append(record)
            # Spread, so that the clients do not send in step.
            think_s = self._think_s if record.error == "" else max(self._think_s, REFUSED_PAUSE_S)
            await asyncio.sleep(dice.uniform(0.5, 1.5) * think_s)
        connection.close()


@contextmanager
def loads(targets: Iterable[Target], *, connections: int = 24, think_s: float = 0.02) -> Iterator[list[Load]]:
    """One on each at a time."""
    with ExitStack() as ends:
        yield [ends.enter_context(Load(t, connections=connections, think_s=think_s)) for t in targets]


class Connection:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def exchange(self) -> Record:
        """One request and its answer, or why there was none. Opens a connection where none is open."""
        sent = time.perf_counter()
        try:
            # A connection that the server has closed in the meantime is not used again.
            if self._reader is None or self._reader.at_eof():
                self.close()
                self._reader, self._writer = await self._open()
            assert self._reader and self._writer
            sent = time.perf_counter()
            await self._send(self._writer)
            status, body = await asyncio.wait_for(self._answer(self._reader), READ_TIMEOUT_S)
            return Record(sent, time.perf_counter(), status, release_of(body))
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            self.close()
            return Record(sent, time.perf_counter(), None, None, f"{type(error).__name__}: {error}")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._target.host, self._target.port)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self._target.request)

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head[:-4].split(b"\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(b":") for f in fields)}
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            body = await _chunked(reader)
        elif b"content-length" in headers:
            body = await self._body(reader, int(headers[b"content-length"]))
        else:
            raise ValueError("an answer without a length can't be known to be complete")
        if headers.get(b"connection", b"").lower() == b"close":
            self.close()
        return int(line.split(b" ", 2)[1]), body

    async def _body(self, reader: asyncio.StreamReader, length: int) -> bytes:
        return await reader.readexactly(length)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return body


def release_of(body: bytes) -> str | None:
    """What the demo application says about itself; None when somebody else answered."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return str(answer["release"]) if isinstance(answer, dict) and "release" in answer else None
