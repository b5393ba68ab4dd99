"""The demo application: says which release answers. Standard library only.

RELEASE  what it says (built into the image)
BOOT_S   seconds before it listens (1.0)
MODE     ok | error500 (answers 500) | hang (never answers) | exit (ends at once with code 3) |
         flaky (answers 500 to one in twenty, but not to /healthz)
PORT     where it listens (8000)

GET /            {"release": "2", "path": "/"}
GET /slow?ms=N   the same, N milliseconds later
GET /healthz     the same; what MODE says counts here too
GET /assets/R    the same on release R; on others it is not found
"""

from __future__ import annotations

import os
import sys

PORT = int(os.environ.get("PORT", "8000"))
MODE = os.environ.get("MODE", "ok")
RELEASE = os.environ.get("RELEASE", "0")


def check() -> int:
    """`app.py --check`: the health check. A bare socket, because it runs often."""
    import socket

    try:
        with socket.create_connection(("127.0.0.1", PORT), timeout=1) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.recv(100)
    except OSError as error:
        print(error)
        return 1
    print(answer.split(b"\r\n")[0].decode(errors="replace"))
    return 0 if answer.startswith(b"HTTP/1.1 200 ") else 1


def serve() -> int:
    import asyncio
    import itertools
    import json
    import signal

    # Requests being answered, and every open connection.
    busy: set[Connection] = set()
    connections: set[Connection] = set()
    stopping = asyncio.Event()
    answers = itertools.count(1)

    class Connection(asyncio.Protocol):
        transport: asyncio.Transport

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport, self.received = transport, b""
            connections.add(self)

        def connection_lost(self, error: Exception | None) -> None:
            connections.discard(self)
            busy.discard(self)

        def data_received(self, data: bytes) -> None:
            self.received += data
            self.answer_next()

        def answer_next(self) -> None:
            if self in busy:
                return
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            line, *fields = head.split(b"\r\n")
            headers = {k.strip().lower(): v.strip() for k, _, v in (f.partition(b":") for f in fields)}
            length = int(headers.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self.received = rest[length:]
            busy.add(self)
            method, target, version = line.decode("latin-1").split(" ", 2)
            wants = headers.get(b"connection", b"").lower()
            close = wants == b"close" or (version == "HTTP/1.0" and wants != b"keep-alive")
            if MODE == "hang":
                return
            path, _, query = target.partition("?")
            if path == "/slow":
                delay_s = float(dict(p.partition("=")[::2] for p in query.split("&")).get("ms") or 0) / 1000
                asyncio.get_running_loop().call_later(delay_s, self.answer, method, path, close)
            else:
                self.answer(method, path, close)

        def answer(self, method: str, path: str, close: bool) -> None:  # noqa: FBT001
            close = close or stopping.is_set()
            bad = MODE == "error500" or (MODE == "flaky" and path != "/healthz" and next(answers) % 20 == 0)
            is_missing = path.startswith("/assets/") and path != f"/assets/{RELEASE}"
            status = "500 Internal Server Error" if bad else "404 Not Found" if is_missing else "200 OK"
            body = json.dumps({"release": RELEASE, "path": path}) + "\n"
            self.transport.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
                f"{'' if method == 'HEAD' else body}".encode()
            )
            busy.discard(self)
            if close:
                self.transport.close()
            else:
                self.answer_next()

    async def run() -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        boot_s = float(os.environ.get("BOOT_S", "1.0"))
        print(f"release {RELEASE}: ready in {boot_s:g} s", flush=True)
        try:
            await asyncio.wait_for(stopping.wait(), boot_s)
        except TimeoutError:
            pass
        else:
            return 0
        server = await loop.create_server(Connection, "0.0.0.0", PORT, backlog=1024)
        print(f"release {RELEASE}: listening on {PORT}", flush=True)
        await stopping.wait()
        server.close()
        while busy and MODE != "hang":
            await asyncio.sleep(0.01)
        for connection in list(connections):
            connection.transport.close()
        print(f"release {RELEASE}: finished", flush=True)
        return 0

    return asyncio.run(run())


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        return check()
    if MODE == "exit":
        print("cannot read the configuration: giving up", flush=True)
        return 3
    return serve()


if __name__ == "__main__":
    sys.exit(main())
