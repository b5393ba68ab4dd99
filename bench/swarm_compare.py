"""The same update under the same load: by Swarm itself behind plain nginx, and by the gateway."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.analysis import Record, lost
from bench.lab import DOMAIN, Broken, run, say
from bench.load import Load, Target, loads
from bench.nodes import Node

REQUESTS = 1000
CLIENTS, THINK_S = 4, 0.05
NAME, PORT = "plain", 8081
FRONT = """
upstream app {
    zone app 64k;
    resolver 127.0.0.11 valid=1s ipv6=off;
    server app:8000 resolve;
    keepalive 16;
}
server {
    listen 80;
    location / {
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Row:
    how: str
    requests: int
    failed: int
    both_s: float  # for how long both releases were answered with
    took_s: float

    @property
    def failed_of_1000(self) -> float:
        return self.failed / self.requests * REQUESTS


def table(rows: Sequence[Row]) -> list[str]:
    lines = [f"{'update by':<28} {'requests':>8} {'failed of 1,000':>16} {'both answered':>14} {'took':>8}"]
    lines += [
        f"{row.how:<28} {row.requests:>8} {row.failed_of_1000:>16.1f}"
        f" {row.both_s:>12.1f} s {row.took_s:>6.1f} s"
        for row in rows
    ]
    return lines


def told(rows: Sequence[Row]) -> dict[str, Any]:
    return {row.how: {k: v for k, v in asdict(row).items() if k != "how"} for row in rows}


def measured(
    how: str, nodes: Sequence[Node], target: Callable[[Node], Target], update: Callable[[], object]
) -> Row:
    """From release 1 to release 2, and some time before and after; at least so many requests."""
    with loads(map(target, nodes), connections=CLIENTS, think_s=THINK_S) as every:
        for load in every:
            load.wait_for(50, timeout_s=30)
        began = time.monotonic()
        update()
        took_s = time.monotonic() - began
        for load in every:
            load.wait_for(max(REQUESTS // len(every), len(load.records) + 50), timeout_s=60)
    records = [record for load in every for record in load.records]
    return Row(how, len(records), len(lost(records)), both_s(records), took_s)


def both_s(records: Sequence[Record]) -> float:
    """From the new release's first answer to the old one's last request; 0: never side by side."""
    first = min((r.ended for r in records if r.release == "2"), default=None)
    if first is None:
        raise Broken("release 2 never answered")
    return max(max((r.sent for r in records if r.release == "1"), default=first) - first, 0.0)


@contextmanager
def plain(nodes: Sequence[Node], images: Mapping[str, str], nginx: str, order: str) -> Iterator[None]:
    manager = nodes[0]
    check = {"test": ["CMD", "python3", "-IS", "/app.py", "--check"], "interval": "2s", "start_period": "5s"}
    app = {
        "image": images["1"],
        "environment": {"BOOT_S": "0.2"},
        "healthcheck": check,
        "deploy": {"replicas": 6, "endpoint_mode": "dnsrr", "update_config": {"order": order}},
    }
    front = {
        "image": nginx,
        "ports": [{"target": 80, "published": PORT, "mode": "host"}],
        "configs": [{"source": "front", "target": "/etc/nginx/conf.d/default.conf"}],
        "deploy": {"mode": "global", "endpoint_mode": "dnsrr"},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "front.conf"
        file.write_text(FRONT)
        model = {"services": {"app": app, "front": front}, "configs": {"front": {"file": str(file)}}}
        stack = Path(folder) / "stack.yaml"
        stack.write_text(json.dumps({"version": "3.8", **model}))
        try:
            run("docker", "-H", manager.host, "stack", "deploy", "-c", stack, NAME)
            _await_answers(nodes)
            yield
        finally:
            manager.docker("stack", "rm", NAME, check=False)
            for node in nodes:
                while node.docker("ps", "-q", "--filter", f"label=com.docker.stack.namespace={NAME}").split():
                    time.sleep(0.3)


def _await_answers(nodes: Sequence[Node]) -> None:
    until = time.monotonic() + 120
    for node in nodes:
        while True:
            with Load(Target(node.ip, PORT, DOMAIN), connections=1) as load:
                load.wait_for(5, timeout_s=10)
            if load.records and not lost(load.records[-3:]):
                break
            if time.monotonic() > until:
                raise Broken(f"the plain service does not answer on {node.name}: {load.records[-1:]}")


def by_swarm(nodes: Sequence[Node], images: Mapping[str, str], nginx: str) -> Iterator[Row]:
    for order in ("stop-first", "start-first"):
        say(f"Swarm's own rolling update, {order}")
        with plain(nodes, images, nginx, order):
            yield measured(
                f"Swarm, {order}",
                nodes,
                lambda node: Target(node.ip, PORT, DOMAIN),
                lambda: nodes[0].docker("service", "update", "-q", "--image", images["2"], f"{NAME}_app"),
            )
