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
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from tests.fuzz.batch import Batch, run

EACH = 1000  # examples of a batch: hypothesis remembers all of one, and what is wrong is soon told
LOOK_S = 0.2
AHEAD = 2  # batches of each processor that are handed out

Order = tuple[int, int]  # a seed and how many examples


def main() -> int:
    """The exit code: 0 nothing got in, 1 something did, 3 a process was killed, 130 interrupted."""
    options = argparse.ArgumentParser(prog="scripts/fuzz")
    options.add_argument("--examples", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    given = options.parse_args()
    print(f"seed {given.seed}: scripts/fuzz --examples {given.examples} --seed {given.seed}", flush=True)
    interrupted = Interrupted()
    told = Told()
    pool = ProcessPoolExecutor(os.cpu_count(), initializer=_leave_signals_to_the_parent)
    code = 0
    try:
        for batch in done(pool, orders(given.examples, given.seed), interrupted):
            told.add(batch)
            if batch.escape:
                code = 1
                break
    except BrokenProcessPool:
        print(
            "a process of the fuzz was killed (out of memory?): what it had is not counted", file=sys.stderr
        )
        code = 3
    except KeyboardInterrupt:
        code = 130
    finally:
        end(pool)
    told.all()
    return code


def orders(examples: int, seed: int) -> Iterator[Order]:
    """The first batch has the seed itself, so that one that failed is repeated by its own."""
    for number, before in enumerate(range(0, examples, EACH)):
        yield seed + number, min(EACH, examples - before)


class Interrupted:
    """Whether somebody wants us to end.

    An exception that a signal raised would be lost where Python ignores exceptions: while it forks, for one.
    """

    def __init__(self) -> None:
        self._is = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self._is = True

    def check(self) -> None:
        """Raises KeyboardInterrupt when one does."""
        if self._is:
            raise KeyboardInterrupt


def done(pool: ProcessPoolExecutor, orders: Iterable[Order], interrupted: Interrupted) -> Iterator[Batch]:
    """Each as it ends. Raises BrokenProcessPool when one of the processes was killed, KeyboardInterrupt."""
    ahead: set[Future[Batch]] = set()
    left = iter(orders)
    while True:
        interrupted.check()
        for order in islice(left, max(0, AHEAD * (os.cpu_count() or 1) - len(ahead))):
            ahead.add(pool.submit(run, *order))
        if not ahead:
            return
        ended, ahead = wait(ahead, timeout=LOOK_S, return_when=FIRST_COMPLETED)
        yield from (each.result() for each in ended)


def end(pool: ProcessPoolExecutor) -> None:
    """Nobody waits for batches that have begun. The pool itself can't be told so before Python 3.14."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for process in multiprocessing.active_children():
        process.kill()
    pool.shutdown(cancel_futures=True)


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Told:
    """What came of the batches, as lines."""

    def __init__(self) -> None:
        self._accepted = self._refused = self._escapes = 0
        self._began = self._shown = time.monotonic()

    def add(self, batch: Batch) -> None:
        """A line every ten seconds, and what got in at once."""
        self._accepted += batch.accepted
        self._refused += batch.refused
        self._escapes += bool(batch.escape)
        if batch.escape or time.monotonic() - self._shown > 10:
            self._shown = time.monotonic()
            self._line()
        if batch.escape:
            print(f"{batch.escape}\nagain: scripts/fuzz --examples {batch.ordered} --seed {batch.seed}")

    def all(self) -> None:
        self._line()
        counted = {"examples": self._examples, "accepted": self._accepted, "refused": self._refused}
        seconds = round(time.monotonic() - self._began, 1)
        print(json.dumps(counted | {"escapes": self._escapes, "seconds": seconds}), flush=True)

    @property
    def _examples(self) -> int:
        return self._accepted + self._refused

    def _line(self) -> None:
        seconds = time.monotonic() - self._began
        share, rate = 100 * self._accepted / max(1, self._examples), self._examples / max(seconds, 0.001)
        print(
            f"{seconds:6.0f} s  {self._examples} examples, {share:.0f} % accepted, {rate:.0f} a second",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
