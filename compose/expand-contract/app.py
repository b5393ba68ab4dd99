"""People with names, in PostgreSQL. Release 1 knows the column `name`, releases 2 and 3 `full_name`.

POST /people  body: a name        {"id": 7}
GET /people/7                     {"name": "Ann"}
GET /                             {"release": "2"}
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pg8000.native

RELEASE = os.environ["RELEASE"]
COLUMN = "name" if RELEASE == "1" else "full_name"


class People(BaseHTTPRequestHandler):
    """One thread and one connection to the database for each connection of nginx."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.db = pg8000.native.Connection("postgres", host=os.environ["DB_HOST"])

    def finish(self) -> None:
        super().finish()
        self.db.close()

    def do_GET(self) -> None:
        if self.path == "/":
            return self.answer({"release": RELEASE})
        query = f"SELECT {COLUMN} FROM people WHERE id = :id"
        [[name]] = self.db.run(query, id=int(self.path.rpartition("/")[2]))
        return self.answer({"name": name})

    def do_POST(self) -> None:
        name = self.rfile.read(int(self.headers["Content-Length"])).decode()
        [[number]] = self.db.run(f"INSERT INTO people ({COLUMN}) VALUES (:name) RETURNING id", name=name)
        self.answer({"id": number})

    def answer(self, told: dict[str, object]) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None: ...


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("", 8000), People).serve_forever()
