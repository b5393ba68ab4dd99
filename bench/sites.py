"""A changed configuration of many sites, from the file to what nginx runs, against nginx's own part of it.

Our whole path: read, render, read back, list of directives, `nginx -t`, rename, reload, look until every
worker runs it. Nginx's: `nginx -t` and a reload of the very same files, looked at alike, in turn with ours.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.lab import Broken, finish, run, say, undisturbed
from bench.quick import PYTHON

SIZES = (100, 1000, 5000)
CHANGES = 5
GOAL_RATIO = 1.5
START_TIMEOUT_S = 120
# Without the daemon, which would answer the changes before we do.
START = f"{PYTHON} -m gateway.agent.prepare && exec nginx -g 'daemon off;'"
# In the container. The first look, with nothing known, is the cold start: nginx runs this generation already,
# so it is tested anew and reloaded to be compared like the others. Each waits until the workers of the reload
# before have ended: to give back the memory of thousands of sites keeps both processors busy for longer than
# all that is ours takes.
MEASURE = """
import contextlib, json, os, pathlib, shutil, subprocess, sys, time
from gateway.adapters import nginx_test
from gateway.adapters.master import NginxMaster
from gateway.agent import live
from gateway.settings.parsing import at_start
from gateway.wiring import routing_files

nginx, spent = NginxMaster(), [0.0]

def timed(call):
    def inner(*args, **named):
        began = time.perf_counter()
        try:
            return call(*args, **named)
        finally:
            spent[0] += time.perf_counter() - began
    return inner

nginx_test.refusal, NginxMaster.reload = timed(nginx_test.refusal), timed(NginxMaster.reload)

def processes():
    found = 0
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found += comm.read_text() == "nginx\\n"
    return found

def settle():
    while processes() > steady:
        time.sleep(0.05)

def ours(reconciler):
    settle()
    before, spent[0], began = nginx.generation(), 0.0, time.perf_counter()
    roster = reconciler.reconcile()
    whole = time.perf_counter() - began
    assert nginx.generation() != before and not roster.problems, roster.problems
    return whole, whole - spent[0]

def theirs():
    settle()
    began = time.perf_counter()
    subprocess.run(["nginx", "-t", "-q"], check=True, capture_output=True)
    assert nginx.reload(nginx.generation(), timeout_s=100)
    return time.perf_counter() - began

def change(number):
    path = pathlib.Path("/etc/gateway/sites/s00000.env")
    path.write_text(f"DOMAIN=s00000.test\\nUPSTREAM=app:{8001 + number}\\n")

shutil.rmtree("/var/lib/gateway/good", ignore_errors=True)
change(0)
steady = processes()
settings = at_start(os.environ)
rounds, reconciler = [], live.reconciler(os.environ, settings, routing_files(settings))
for number in range(1 + int(sys.argv[1])):
    change(number)
    whole, own = ours(reconciler)
    rounds.append([whole, own, theirs()])
print(json.dumps(rounds))
"""


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds: our whole path, what of it is our own work, and nginx's part by itself."""

    whole: float
    own: float
    nginx: float

    @property
    def ratio(self) -> float:
        return self.whole / self.nginx


@dataclass(frozen=True, slots=True)
class Size:
    cold: Took
    change: Took


def measure(sites: int) -> Size:
    name = f"gateway-sites-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as config:
        folder = Path(config) / "sites"
        folder.mkdir()
        for number in range(sites):
            (folder / f"s{number:05}.env").write_text(f"DOMAIN=s{number:05}.test\nUPSTREAM=app:8000\n")
        try:
            run("docker", "run", "-d", "--name", name, "--network", "none", "-v", f"{config}:/etc/gateway",
                "--entrypoint", "sh", "gateway:local", "-c", START)  # fmt: skip
            await_start(name)
            rounds = json.loads(run("docker", "exec", name, PYTHON, "-c", MEASURE, str(CHANGES)))
        finally:
            with undisturbed():
                run("docker", "rm", "-fv", name, check=False)
    cold, *changes = (Took(*each) for each in rounds)
    # The one in the middle by its ratio: each pair was measured close together. Of our own work the least,
    # for whatever else the machine did only adds to it.
    middle = sorted(changes, key=lambda took: took.ratio)[len(changes) // 2]
    size = Size(cold, replace(middle, own=min(took.own for took in changes)))
    for what, took in (("from nothing", size.cold), ("one changed", size.change)):
        say(
            f"{sites:5} sites, {what}: {took.whole:.2f} s, of which {took.own:.2f} s our own work;"
            f" nginx's own part {took.nginx:.2f} s, ratio {took.ratio:.2f}"
        )
    return size


def await_start(container: str) -> None:
    tries = START_TIMEOUT_S * 5
    wait = f"for i in $(seq {tries}); do [ -S /run/gateway/nginx.sock ] && exit; sleep 0.2; done; exit 1"
    try:
        run("docker", "exec", container, "sh", "-c", wait)
    except Broken:
        raise Broken(run("docker", "logs", "--tail", "20", container, check=False)) from None


def main() -> tuple[Mapping[str, Any], bool]:
    argparse.ArgumentParser(prog="scripts/bench --sites", description=__doc__).parse_args()
    sizes = {sites: measure(sites) for sites in SIZES}
    thousand, most = sizes[1000], sizes[5000]
    growth = most.change.own / thousand.change.own
    result = {
        "render_validate_reload_ratio_1000": round(thousand.change.ratio, 3),
        "cold_ratio_1000": round(thousand.cold.ratio, 3),
        "growth_5000": round(growth, 2),
        "growth_5000_cold": round(most.cold.own / thousand.cold.own, 2),
        "growth_5000_whole": round(most.change.whole / thousand.change.whole, 2),
        "growth_5000_nginx": round(most.change.nginx / thousand.change.nginx, 2),
        "seconds": {
            str(sites): {
                "change": [round(s, 3) for s in (size.change.whole, size.change.own, size.change.nginx)],
                "cold": [round(s, 3) for s in (size.cold.whole, size.cold.own, size.cold.nginx)],
            }
            for sites, size in sizes.items()
        },
    }
    return result, thousand.change.ratio <= GOAL_RATIO and growth <= SIZES[-1] / SIZES[-2]


if __name__ == "__main__":
    finish(main)
