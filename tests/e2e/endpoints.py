"""`python -m tests.e2e.endpoints LOG`: writes the list of endpoints from what the proxy was asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from gateway.adapters.docker_endpoints import LIST, pattern

# As the proxy logs it: method, path with the API's version and the query, status.
_ASKED = re.compile(r"([A-Z]+) (?:/v1\.\d+)?(/[^ ?]*)\S* \d{3}")


def used(log: Iterable[str]) -> list[str]:
    """A line an endpoint, sorted by path."""
    asked = {found.groups() for line in log if (found := _ASKED.fullmatch(line.strip()))}
    found = {(pattern(path), method) for method, path in asked}
    return [f"{method} {path}" for path, method in sorted(found)]


if __name__ == "__main__":
    lines = used(Path(sys.argv[1]).read_text().splitlines())
    LIST.write_text("".join(f"{line}\n" for line in lines))
    print(f"{LIST}: {len(lines)} endpoints")
