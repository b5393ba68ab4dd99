"""Clients that never retry."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.docker.conftest import Plane


def client(plane: Plane, stop: threading.Event) -> list[tuple[float, float, int, str]]:
    """One kept-alive connection that never retries: (sent at, answered at, status, release)."""
    seen = []
    connection = plane.connect()
    while not stop.is_set():
        sent = time.perf_counter()
        connection.request("GET", "/", headers={"Host": "shop.test"})
        answer = connection.getresponse()
        body = answer.read()
        shown = json.loads(body)["release"] if answer.status == 200 else ""
        seen.append((sent, time.perf_counter(), answer.status, shown))
    connection.close()
    return seen


def under_load(plane: Plane, switch: Callable[[], None]) -> list[tuple[float, float, int, str]]:
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, plane, stop) for _ in range(8)]
        try:
            time.sleep(0.3)
            switch()
            time.sleep(0.3)
        finally:
            stop.set()
        return [one for each in clients for one in each.result(30)]
