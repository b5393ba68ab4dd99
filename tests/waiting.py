"""How tests wait for the world."""

from __future__ import annotations

import time
from collections.abc import Callable


def look_until(holds: Callable[[], bool], *, within_s: float, every_s: float, what: str = "") -> float:
    """Seconds until it held."""
    began = asked = time.monotonic()
    while not holds():
        ended = time.monotonic()
        assert ended - began < within_s, f"not within {within_s:g} s{what and f': {what}'}"
        # To look is most of what a waiting test costs; what it waits for needs the processor.
        time.sleep(max(every_s, ended - asked))
        asked = time.monotonic()
    return time.monotonic() - began
