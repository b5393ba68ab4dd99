"""What a gateway of a fleet remembers: of orders on disk, of its lease as long as the machine runs."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.adapters.durable import write_durably
from gateway.core.fleet import Post
from gateway.errors import Failed
from gateway.wire import from_wire, to_wire


class PostFile:
    """`lease_file`: on a tmpfs of the container, so that a new container has no lease."""

    def __init__(self, state_dir: str, lease_file: str) -> None:
        self._file, self._lease = Path(state_dir) / "fleet.json", Path(lease_file)

    def load(self) -> Post:
        """Raises Failed: what can't be read is not taken for "new"."""
        try:
            return from_wire(Post, json.loads(self._file.read_text()))
        except FileNotFoundError:
            return Post()
        except Exception as error:
            raise Failed(f"{self._file} can't be read: {error}") from error

    def keep(self, post: Post) -> None:
        """Durable when it returns."""
        write_durably(self._file, json.dumps(to_wire(post)))

    def until(self) -> float:
        """When the lease ends, by the machine's monotonic clock; 0: there is none."""
        try:
            return float(self._lease.read_text())
        except (OSError, ValueError):
            return 0.0

    def lease(self, until: float) -> None:
        write_durably(self._lease, str(until))
