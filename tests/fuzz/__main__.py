"""Batches on every processor; see scripts/fuzz."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import signal
import sys
import time

from tests.fuzz.batch import Batch, run

EACH = 4000  # examples of a batch: hypothesis remembers all of one


def main() -> int:
    """The exit code: 0 nothing got in, 1 something did, 130 interrupted."""
    options = argparse.ArgumentParser(prog="scripts/fuzz")
    options.add_argument("--examples", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    given = options.parse_args()
    print(f"seed {given.seed}: scripts/fuzz --examples {given.examples} --seed {given.seed}", flush=True)
    done: list[Batch] = []
    began = shown = time.monotonic()
    interrupted = False
    with multiprocessing.Pool(os.cpu_count(), initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            for batch in pool.imap_unordered(_batch, _orders(given.examples, given.seed)):
                done.append(batch)
                if batch.escape or time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    print(_said(done, shown - began), flush=True)
                if batch.escape:
                    print(f"{batch.escape}\nagain: scripts/fuzz --examples {EACH} --seed {batch.seed}")
                    break
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - began
    print(_said(done, seconds))
    print(json.dumps(_counted(done) | {"seconds": round(seconds, 1)}))
    return 130 if interrupted else 1 if any(batch.escape for batch in done) else 0


def _orders(examples: int, seed: int) -> list[tuple[int, int]]:
    """The first batch has the seed itself, so that one that failed is repeated by its own."""
    sizes = [EACH] * (examples // EACH) + [examples % EACH] * (examples % EACH > 0)
    return [(seed + number, size) for number, size in enumerate(sizes)]


def _batch(order: tuple[int, int]) -> Batch:
    return run(*order)


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
