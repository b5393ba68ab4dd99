"""A gRPC server as the gateway sees one: HTTP/2 without TLS, an answer in trailers. Needs h2 on the path.

/grpc.health.v1.Health/Check says what HEALTH says (1: SERVING); everything else echoes its first message
with the headers that came.
"""

from __future__ import annotations

import json
import os
import socketserver
import struct

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

HEALTH = int(os.environ.get("HEALTH", "1"))


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        self.request.sendall(connection.data_to_send())
        asked: dict[int, dict[str, str]] = {}
        while data := self.request.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    asked[event.stream_id] = dict(event.headers)
                elif isinstance(event, DataReceived):
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    self.answer(connection, event.stream_id, asked.pop(event.stream_id))
            self.request.sendall(connection.data_to_send())

    def answer(self, connection: H2Connection, stream: int, headers: dict[str, str]) -> None:
        health = headers[":path"] == "/grpc.health.v1.Health/Check"
        message = bytes([8, HEALTH]) if health else json.dumps(headers).encode()
        connection.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        connection.send_data(stream, struct.pack(">BI", 0, len(message)) + message)
        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("0.0.0.0", 8000), Handler).serve_forever()
