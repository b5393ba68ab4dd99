"""The application behind the gateway in these tests; standard library only.

/slow?ms=N waits, /status?code=N answers so, /headers shows what arrived, /ws is a WebSocket that stays
open until the client closes it, /events sends an event each 300 ms, /uploads counts the bodies that began to
arrive, /assets/R.js is found on the release R alone, ?pad=N makes the answer that much longer; everything
else is answered with the release's name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RELEASE = os.environ["RELEASE"]
uploads: list[str] = []
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    digest = ""  # of the body

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        values = {name: int(value[0]) for name, value in parse_qs(url.query).items()}
        if url.path == "/ws":
            self.hold_websocket()
            return
        if url.path == "/events":
            self.send_events()
            return
        time.sleep(values.get("ms", 0) / 1000)
        shown = {"release": RELEASE, "peer": self.client_address[1], "path": self.path}
        shown |= {"method": self.command, "sha256": self.digest}
        if url.path == "/uploads":
            shown["uploads"] = len(uploads)
        shown["pad"] = "x" * values.get("pad", 0)
        if url.path == "/headers":
            shown["headers"] = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(shown).encode()
        is_missing = "/assets/" in url.path and not url.path.endswith(f"/{RELEASE}.js")
        self.send_response(404 if is_missing else values.get("code", 200))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        uploads.append(self.path)
        digest = hashlib.sha256()
        for part in self.body():
            digest.update(part)
        self.digest = digest.hexdigest()
        self.do_GET()

    def body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            left = int(self.headers["Content-Length"])
            while left > 0 and (part := self.rfile.read(min(left, 1 << 20))):
                left -= len(part)
                yield part
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def send_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("X-Accel-Buffering", "no")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(3):
            self.wfile.write(f"data: {number}\n\n".encode())
            time.sleep(0.3)
        self.close_connection = True

    def hold_websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + MAGIC
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header(
            "Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        )
        self.end_headers()
        while data := self.connection.recv(1024):
            self.connection.sendall(data)  # an echo of bytes: frames are not what is tested
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


if __name__ == "__main__":
    Server(("0.0.0.0", 8000), Handler).serve_forever()
