"""The gateway in steady state against static nginx of the same image, and the time a switch takes.

Twice: without sessions, and with them, for a visitor who has one and for newcomers alone. Both proxy to the
same nginx that answers 200 from memory, with the same headers and kept-alive connections, in turn (ABBA...),
so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.analysis import percentile
from bench.lab import SITE, Broken, Lab, finish, run, say, undisturbed
from gateway.adapters.routing import routing_from_flag
from gateway.paths import ROUTING_DIR

# Short rounds close together: what else the machine does hits both sides of a pair alike.
ROUNDS = 9  # a slot
ROUND_S = 1
CONNECTIONS = 32
SWITCHES = 200
HOLDER, NEWCOMER = "holder", "newcomer"
READ_FLAG = ("sh", "-c", f"basename $(readlink {ROUTING_DIR}/{SITE})")
PLAIN = "gateway-bench-plain"
PYTHON = "/opt/gateway/bin/python"
SCRATCH = "/dev/shm/gateway-bench"
DISK_SCRATCH = "/var/lib/gateway/bench"

STACK = """\
services:
  app:
    image: nginx:1.30
    entrypoint: ["sh", "-c"]
    command:
      - |
        cat >/tmp/upstream.conf <<'END'
        worker_processes 1;
        error_log /dev/stderr warn;
        events { worker_connections 1024; }
        http {
            access_log off;
            keepalive_requests 100000000;
            server { listen 8000; location / { default_type text/plain; return 200 "ok\\n"; } }
        }
        END
        exec nginx -c /tmp/upstream.conf -g 'daemon off;'
"""

# What nginx needs to do the same for one site without us. WORKERS, SLOT, LOG, ACCESS, MAPS and HEADERS
# are taken from the gateway's own configuration.
STATIC = """\
worker_processes WORKERS;
error_log /dev/stderr warn;
events { worker_connections 1024; }
http {
    LOG
    ACCESS
    MAPS
    upstream app { zone app 64k; server SLOT:8000; keepalive 64; }
    server {
        listen 80;
        server_name demo.test;
        location / {
            proxy_http_version 1.1;
            HEADERS
            proxy_pass http://app;
        }
    }
}
"""

# Both times are of whole calls. On tmpfs alone, syncing to the disk costs nothing: what is left is
# the switch. With its state on the disk it survives a power cut.
PUBLISH = f"""
import json, time
from gateway.adapters.routing import RoutingFiles
from gateway.core.model import Routing, Slot
def took_ms(state_dir):
    files, took = RoutingFiles(routing_dir="{SCRATCH}/routing", state_dir=state_dir), []
    for i in range({SWITCHES}):
        began = time.perf_counter()
        files.publish("bench", Routing(slot=Slot.GREEN if i % 2 else Slot.BLUE, awake=True))
        took.append((time.perf_counter() - began) * 1000)
    return took
print(json.dumps([took_ms("{SCRATCH}/state"), took_ms("{DISK_SCRATCH}")]))
"""


@dataclass(frozen=True, slots=True)
class Round:
    requests_per_s: float
    cpu_us: float  # of all nginx processes, a request


class Nginx:
    """One nginx in its container, measured from inside its network, without docker's port proxy."""

    def __init__(self, container: str) -> None:
        rows = run("docker", "top", container, "-o", "pid,comm").splitlines()[1:]
        self._pids = [int(pid) for pid, comm in (row.split(None, 1) for row in rows) if comm == "nginx"]
        if not self._pids or not Path(f"/proc/{self._pids[0]}/stat").exists():
            raise Broken(f"no nginx of {container} in this machine's /proc: is the engine on another one?")

    def cpu_s(self) -> float:
        """User and system time of all of them so far."""
        ticks = 0
        for pid in self._pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def cookie(self) -> str:
        """What a newcomer is given; nothing where there are no sessions."""
        answer = self._inside("curl", "-si", "-H", "Host: demo.test", "http://127.0.0.1/")
        found = re.search(r"^set-cookie: ([^;]+)", answer, re.M | re.I)
        return found[1] if found else ""

    def round(self, seconds: int, cookie: str) -> Round:
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "Host: demo.test"]
        wrk += ["-H", f"Cookie: {cookie}"] if cookie else []
        before = self.cpu_s()
        said = self._inside(*wrk, "http://127.0.0.1/")
        cpu_s = self.cpu_s() - before
        total = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said)
        if not total or "Non-2xx" in said or "Socket errors" in said:
            raise Broken(f"wrk: {said}")
        took_s = float(total[2]) / (1000 if total[3] == "ms" else 1)
        return Round(int(total[1]) / took_s, cpu_s / int(total[1]) * 1e6)

    def _inside(self, *command: str) -> str:
        """Run in nginx's network."""
        return run("nsenter", "-t", str(self._pids[0]), "-n", *command)


def static_config(rendered: str, slot: str) -> str:
    """STATIC with what the gateway's configuration (`nginx -T`) does for the request itself."""
    workers = re.search(r"^\s*worker_processes\s+(\w+);", rendered, re.M)
    log = re.search(r"log_format gateway_json[^;]*;", rendered)
    access = re.search(r"access_log /dev/stdout gateway_json[^;]*;", rendered)
    # Several locations set them: the first is the site's.
    headers: dict[str, str] = {}
    for name, value in re.findall(r"^\s*proxy_set_header\s+(\S+)\s+([^;]*);", rendered, re.M):
        headers.setdefault(name, value)
    if not (workers and log and access and headers):
        raise Broken(f"the gateway's configuration is not as this bench knows it:\n{rendered[:2000]}")
    values = {
        "WORKERS": workers[1],
        "SLOT": slot,
        "LOG": log[0].replace("$gateway_slot", "app"),
        "ACCESS": access[0],
        "MAPS": "\n    ".join(re.findall(r"^map \$(?:http|gateway)_upgrade [^{]*\{[^}]*\}", rendered, re.M)),
        "HEADERS": " ".join(f"proxy_set_header {name} {value};" for name, value in headers.items()),
    }
    return re.sub("|".join(values), lambda match: values[match[0]], STATIC)


@contextmanager
def static_nginx(lab: Lab, slot: str) -> Iterator[Nginx]:
    """Static nginx beside the gateway, in front of the same upstream."""
    [network] = json.loads(
        run("docker", "inspect", "-f", "{{json .NetworkSettings.Networks}}", lab.container)
    )
    config = static_config(run("docker", "exec", lab.container, "nginx", "-T"), f"{SITE}-{slot}")
    start = f"cat >/tmp/plain.conf <<'END'\n{config}\nEND\nexec nginx -c /tmp/plain.conf -g 'daemon off;'"
    run("docker", "rm", "-f", PLAIN, check=False)
    try:
        run("docker", "run", "-d", "--name", PLAIN, "--network", network, "--entrypoint", "sh",
            "gateway:local", "-c", start)  # fmt: skip
        yield Nginx(PLAIN)
    finally:
        with undisturbed():
            run("docker", "rm", "-fv", PLAIN, check=False)


def compare(lab: Lab, *, who: str) -> list[tuple[Round, Round]]:
    """Deploy, then rounds in pairs: the gateway and static nginx, when nothing happens any more.

    `who`: HOLDER of a session, who is asked for first, or a NEWCOMER at each request.
    """
    outcome = lab.deploy("nginx:1.30")
    if not outcome.good:
        raise Broken(f"the upstream did not go live: {outcome.reason or outcome.answer}")
    slot, pairs = str(outcome.answer["slot"]), []
    await_steady(lab)
    with static_nginx(lab, slot) as theirs:
        ours = Nginx(lab.container)
        cookie = ours.cookie() if who == HOLDER else ""
        for nginx in (ours, theirs):
            nginx.round(1, cookie)
        for number in range(1, ROUNDS + 1):
            # ABBA: neither is always the first.
            if number % 2:
                a, b = ours.round(ROUND_S, cookie), theirs.round(ROUND_S, cookie)
            else:
                b, a = theirs.round(ROUND_S, cookie), ours.round(ROUND_S, cookie)
            pairs.append((a, b))
            say(
                f"{slot}, round {number:2}: gateway {a.requests_per_s:6,.0f} requests/s at {a.cpu_us:.1f} us"
                f" CPU each, static nginx {b.requests_per_s:6,.0f} at {b.cpu_us:.1f}"
            )
    return pairs


def await_steady(lab: Lab) -> None:
    """Until the deployment has ended, the release before it included."""
    deadline = time.monotonic() + 60
    while not routing_from_flag(flag := run("docker", "exec", lab.container, *READ_FLAG).strip()).is_steady:
        if time.monotonic() > deadline:
            raise Broken(f"the routing is still {flag!r}")
        time.sleep(0.1)


def switch_times_ms(lab: Lab) -> tuple[list[float], list[float]]:
    """In the agent's own code: of the switch alone, and with its state synced to the disk."""
    try:
        alone, durable = json.loads(run("docker", "exec", lab.container, PYTHON, "-c", PUBLISH))
    finally:
        run("docker", "exec", lab.container, "rm", "-rf", SCRATCH, DISK_SCRATCH, check=False)
    return alone, durable


def ratio(pairs: Sequence[tuple[Round, Round]], of: Callable[[Round], float]) -> float:
    """Gateway to static nginx: the median over the pairs."""
    return round(median(of(a) / of(b) for a, b in pairs), 3)


def plain(lab: Lab) -> Mapping[str, Any]:
    # A test more is made for green than for blue (templates/site.conf.j2): half of the rounds each.
    slots = [compare(lab, who=NEWCOMER), compare(lab, who=NEWCOMER)]
    ours, theirs = zip(*(pair for pairs in slots for pair in pairs), strict=True)
    took_ms, durable_ms = switch_times_ms(lab)
    say(f"{SWITCHES} switches in the agent: half within {percentile(took_ms, 0.5):.3f} ms")
    return {
        "first_answer_s": round(lab.first_answer_s, 2),
        "throughput_ratio": ratio(slots[0] + slots[1], lambda r: r.requests_per_s),
        "cpu_ratio": ratio(slots[0] + slots[1], lambda r: r.cpu_us),
        "cpu_ratio_by_slot": [ratio(pairs, lambda r: r.cpu_us) for pairs in slots],
        "switch_ms_p50": round(percentile(took_ms, 0.5), 3),
        "switch_ms_p99": round(percentile(took_ms, 0.99), 3),
        "switch_durable_ms_p50": round(percentile(durable_ms, 0.5), 3),
        "switch_durable_ms_p99": round(percentile(durable_ms, 0.99), 3),
        "requests_per_s": round(median(a.requests_per_s for a in ours)),
        "requests_per_s_static": round(median(b.requests_per_s for b in theirs)),
    }


def sessions(lab: Lab) -> Mapping[str, Any]:
    holders, newcomers = compare(lab, who=HOLDER), compare(lab, who=NEWCOMER)
    return {
        "cpu_ratio_sessions": ratio(holders, lambda r: r.cpu_us),
        "cpu_ratio_sessions_newcomer": ratio(newcomers, lambda r: r.cpu_us),
    }


def main() -> tuple[Mapping[str, Any], bool]:
    argparse.ArgumentParser(prog="scripts/bench --quick", description=__doc__).parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as stacks:
        (Path(stacks) / "stack.yaml").write_text(STACK)
        settings = {"GATEWAY_OBSERVE_S": "0.2", "GATEWAY_KEEP_S": "1"}
        with Lab("gateway-bench", settings=settings, stacks=Path(stacks)) as lab:
            result |= plain(lab)
        settings |= {"GATEWAY_SESSION_TIMEOUT_S": "1"}
        with Lab("gateway-bench", settings=settings, stacks=Path(stacks)) as lab:
            result |= sessions(lab)
    return result, True


if __name__ == "__main__":
    finish(main)
