"""Batches on every processor; see scripts/fuzz."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from tests.fuzz.batch import Batch, run

EACH = 1000  # examples of a batch: hypothesis remembers all of one
SAID_EVERY_S = 10.0


def main() -> int:
    """The exit code: 0 nothing got in, 1 something did, 3 a process was killed, 130 interrupted."""
    options = argparse.ArgumentParser(prog="scripts/fuzz")
    options.add_argument("--examples", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    given = options.parse_args()
    print(f"seed {given.seed}: scripts/fuzz --examples {given.examples} --seed {given.seed}", flush=True)
    done: list[Batch] = []
    code, began = 0, time.monotonic()
    shown = began
    pool = ProcessPoolExecutor(os.cpu_count(), initializer=_leave_interrupts_to_the_parent)
    try:
        for batch in _batches(pool, given.examples, given.seed):
            done.append(batch)
            if time.monotonic() - shown > SAID_EVERY_S:
                shown = time.monotonic()
                print(_said(done, shown - began), flush=True)
            if batch.escape:
                size = batch.ordered
                print(f"{batch.escape}\nagain: scripts/fuzz --examples {size} --seed {batch.seed}")
                code = 1
                break
    except KeyboardInterrupt:
        code = 130
    except BrokenProcessPool:
        print(
            "a process of the fuzz was killed (out of memory?): what it had is not counted", file=sys.stderr
        )
        code = 3
    seconds = time.monotonic() - began
    _end(pool)
    print(_said(done, seconds))
    print(json.dumps(_counted(done) | {"seconds": round(seconds, 1)}))
    return code


def _batches(pool: ProcessPoolExecutor, examples: int, seed: int) -> Iterator[Batch]:
    """As they end. The first has the seed itself, so that one that failed is repeated by its own."""
    sizes = [EACH] * (examples // EACH) + [examples % EACH] * (examples % EACH > 0)
    orders = iter([(seed + number, size) for number, size in enumerate(sizes)])
    running: set[Future[Batch]] = set()
    while True:
        ahead = 2 * (os.cpu_count() or 1) - len(running)
        running |= {pool.submit(run, *order) for order in islice(orders, ahead)}
        if not running:
            return
        ended, running = wait(running, return_when=FIRST_COMPLETED)
        for each in ended:
            yield each.result()


def _end(pool: ProcessPoolExecutor) -> None:
    """Without waiting for what is half done; it changes nothing outside of its process."""
    running = list(pool._processes.values())  # terminate_workers() comes with Python 3.14
    pool.shutdown(wait=False, cancel_futures=True)
    for process in running:
        process.terminate()
    for process in running:
        process.join()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _counted(done: list[Batch]) -> dict[str, int]:
    accepted, refused = sum(b.accepted for b in done), sum(b.refused for b in done)
    escapes = sum(bool(b.escape) for b in done)
    return {"examples": accepted + refused, "accepted": accepted, "refused": refused, "escapes": escapes}


def _said(done: list[Batch], seconds: float) -> str:
    counts = _counted(done)
    share = 100 * counts["accepted"] / max(1, counts["examples"])
    rate = counts["examples"] / max(seconds, 0.001)
    return f"{seconds:6.0f} s  {counts['examples']} examples, {share:.0f} % accepted, {rate:.0f} a second"


if __name__ == "__main__":
    sys.exit(main())
