"""Many reloads of a changed configuration under thinking and slow clients: nothing is lost, nothing grows."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.analysis import lost, percentile, quarters
from bench.lab import Broken, Lab, finish, run, say
from bench.load import Load, Target
from bench.quick import PYTHON
from bench.slow import slow_load
from bench.soak import TOLERANCES, growing, look, told

# At once; so often what is there is looked at, when the last old workers have left.
BATCH = 25
STACK = """\
services:
  app:
    image: nginx:1.30
    entrypoint: ["sh", "-c"]
    command:
      - |
        mkdir /tmp/files && head -c 2000000 /dev/zero >/tmp/files/large
        cat >/tmp/upstream.conf <<'END'
        worker_processes 1;
        error_log /dev/stderr warn;
        events { worker_connections 1024; }
        http {
            access_log off;
            keepalive_timeout 75s;
            server {
                listen 8000;
                location / { return 200 "ok\\n"; }
                location = /large { root /tmp/files; }
            }
        }
        END
        exec nginx -c /tmp/upstream.conf -g 'daemon off;'
"""
# In the container: a site's file gets another domain, and the next change waits until every worker that
# accepts runs what came of it. One answer: how long each took, in seconds. Exit code 1: it did not happen.
CHANGES = """
import json, pathlib, sys, time
from gateway.adapters.configuration import ConfigurationFiles
from gateway.adapters.master import NginxMaster, accepting_workers
from gateway.paths import NGINX_PID
first, count = int(sys.argv[1]), int(sys.argv[2])
files, nginx, took = ConfigurationFiles(), NginxMaster(), []
master = int(pathlib.Path(NGINX_PID).read_text())
sites = pathlib.Path("/etc/gateway/sites")
sites.mkdir(parents=True, exist_ok=True)
for number in range(first, first + count):
    before, old, began = files.live(), accepting_workers(master), time.monotonic()
    (sites / ".churn.new").write_text(f"DOMAIN=churn{number}.test\\nUPSTREAM=app:8000\\n")
    (sites / ".churn.new").replace(sites / "churn.env")
    while True:
        live = files.live()
        if live != before and nginx.generation() == live and not accepting_workers(master) & old:
            break
        if time.monotonic() - began > 30:
            sys.exit(f"change {number} is not live after 30 s")
        time.sleep(0.01)
    took.append(time.monotonic() - began)
print(json.dumps(took))
"""
SETTLE_S = 3.0  # longer than a slow client's request


def change(lab: Lab, first: int, count: int) -> list[float]:
    said = run("docker", "exec", lab.container, PYTHON, "-c", CHANGES, str(first), str(count))
    took: list[float] = json.loads(said)
    return took


def soak(lab: Lab, reloads: int) -> tuple[Mapping[str, Any], bool]:
    outcome = lab.deploy("nginx:1.30")
    if not outcome.good:
        raise Broken(f"the upstream did not go live: {outcome.reason or outcome.answer}")
    change(lab, 0, 1)  # from now on the folder is there, and watched
    target = Target("127.0.0.1", lab.port, lab.domain)
    large = Target("127.0.0.1", lab.port, lab.domain, "/large")
    loads = {"thinking": Load(target, connections=16, think_s=0.1)}
    loads["dripping"], loads["reading"] = slow_load(target, large)
    took: list[float] = []
    looks, began = [], time.monotonic()
    with ExitStack() as stack:
        for load in loads.values():
            stack.enter_context(load)
        while len(took) < reloads:
            took += change(lab, len(took) + 1, min(BATCH, reloads - len(took)))
            time.sleep(SETTLE_S)
            looks.append(look(lab))
            bad = sum(len(lost(load.records)) for load in loads.values())
            say(f"{time.monotonic() - began:7.1f} s  {len(took)} reloads, {bad} lost, {told(looks[-1])}")
    gone = [record for load in loads.values() for record in lost(load.records)]
    for record in gone[:10]:
        say(f"lost: {record}")
    grown = growing(looks)
    result = {
        "reloads": len(took),
        "requests": {name: len(load.records) for name, load in loads.items()},
        "lost": len(gone),
        "reload_s_p50": round(percentile(took, 0.5), 3),
        "reload_s_p99": round(percentile(took, 0.99), 3),
        "grown": grown,
        **{name: [round(mean, 1) for mean in quarters([one[name] for one in looks])] for name in TOLERANCES},
    }
    return result, not (gone or grown)


def main() -> tuple[Mapping[str, Any], bool]:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--reloads", type=int, required=True)
    reloads = parser.parse_args().reloads
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as stacks:
        (Path(stacks) / "stack.yaml").write_text(STACK)
        settings = {"GATEWAY_OBSERVE_S": "0.2", "GATEWAY_KEEP_S": "1"}
        with Lab("gateway-reloads", settings=settings, stacks=Path(stacks)) as lab:
            return soak(lab, reloads)


if __name__ == "__main__":
    finish(main)
