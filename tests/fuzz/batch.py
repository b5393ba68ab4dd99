"""A batch of examples from one seed."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import hypothesis
from hypothesis import HealthCheck, Phase, given

from tests.fuzz.cases import Case, cases
from tests.fuzz.holds import accepted


@dataclass(frozen=True)
class Batch:
    """What came of so many `ordered`. `escape`: the smallest example that is known, and what is wrong."""

    seed: int
    ordered: int
    accepted: int
    refused: int
    seconds: float
    escape: str = ""


def run(seed: int, examples: int) -> Batch:
    """Counts only what the property was asked of to its end. Nothing is remembered for the next batch."""
    counts = {True: 0, False: 0}
    began = time.monotonic()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(cases(seed))
    def holds(case: Case) -> None:
        counts[accepted(case)] += 1

    escape = ""
    try:
        with _garbage_kept():
            holds()
    except Exception as error:
        escape = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    return Batch(seed, examples, counts[True], counts[False], time.monotonic() - began, escape)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Until the end of the batch: to look for it again and again takes an eighth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()
