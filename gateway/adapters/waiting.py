"""Which sites wait for the end of a deployment, as the controller said last; it outlives the container."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from gateway.adapters.durable import write_durably


class WaitingFile:
    """A site that waits keeps its configuration, also while the controller is away."""

    def __init__(self, state_dir: str | Path) -> None:
        self._file = Path(state_dir) / "waiting.json"
        self._known: frozenset[str] | None = None

    def __call__(self) -> frozenset[str]:
        if self._known is None:
            try:
                self._known = frozenset(json.loads(self._file.read_text()))
            except (OSError, ValueError, TypeError):
                self._known = frozenset()  # a controller that is there says it within a second
        return self._known

    def told(self, names: Collection[str]) -> bool:
        """True when it is news."""
        if frozenset(names) == self():
            return False
        write_durably(self._file, json.dumps(sorted(names)))
        self._known = frozenset(names)
        return True
