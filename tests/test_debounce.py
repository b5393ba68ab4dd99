"""When to look after changes, on a clock that the test turns."""

from __future__ import annotations

import pytest

from gateway.core.debounce import Burst, due, noticed


def looks(changes: list[float], *, quiet_s: float = 0.2, longest_s: float = 2.0) -> list[float]:
    """The times at which one would look."""
    burst: Burst | None = None
    found = []
    for now in [*changes, float("inf")]:
        if burst and due(burst, quiet_s=quiet_s, longest_s=longest_s) <= now:
            found.append(round(due(burst, quiet_s=quiet_s, longest_s=longest_s), 3))
            burst = None
        burst = noticed(burst, now)
    return found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], []),
        ([1.0], [1.2]),
        ([1.0, 1.1, 1.2], [1.4]),
        ([1.0, 2.0], [1.2, 2.2]),
        ([n / 10 for n in range(45)], [2.0, 4.0, 4.6]),
    ],
    ids=["none", "one", "a burst", "two apart", "changes without an end"],
)
def test_one_looks_after_some_quiet_but_not_much_later(changes: list[float], expected: list[float]) -> None:
    assert looks(changes) == expected
