"""A line a step: coloured, with what is waited for beneath, on a terminal; plain text elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

WORDS = {
    "expanding": "running the hook expand",
    "starting": "starting the new release",
    "probing": "probing it through nginx",
    "ready": "healthy",
    "preparing": "running the hook pre-switch",
    "stepping": "sending it a share of the visitors",
    "paused": "paused: `gateway switch` goes on, `gateway abort` goes back",
    "cutover": "switching all traffic",
    "announcing": "running the hook post-switch",
    "observing": "watching it",
    "holding": "done; sessions that began on the previous release stay with it",
    "draining": "letting the previous release finish its requests",
    "keeping": "done; what it replaced stays warm for a rollback",
    "retiring": "stopping the previous release",
    "contracting": "running the hook contract",
    "reverting": "switching all traffic back",
    "unwinding": "letting it finish its requests",
    "aborting": "stopping the candidate",
    "reporting": "running the hook on-failure",
    "aborted": "undone",
    "succeeded": "done",
    "failed": "failed",
}
BAD = ("paused", "reverting", "unwinding", "aborting", "reporting", "aborted", "failed")

Show = Callable[[dict[str, Any], float], None]


@contextmanager
def shown() -> Iterator[Show]:
    """Yields show(line, elapsed seconds)."""
    # https://no-color.org: present and not empty, whatever its value.
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        yield _plain
        return
    from rich.console import Console  # 60 ms, so only here
    from rich.text import Text

    console = Console(highlight=False)
    with console.status("") as status:

        def rich(line: dict[str, Any], elapsed_s: float) -> None:
            if line.get("waiting"):
                status.update(Text(str(line["waiting"]), style="dim"))
                return
            style = "yellow" if line["step"] in BAD else "green"
            console.print(Text(_text(line, elapsed_s), style=style))

        yield rich


def _plain(line: dict[str, Any], elapsed_s: float) -> None:
    click.echo(_text(line, elapsed_s))


def _text(line: dict[str, Any], elapsed_s: float) -> str:
    why = line.get("waiting") or line.get("reason") or ""
    what = WORDS[line["step"]] + (f": {line['share']} %" if "share" in line else "")
    what += f": replicas {line['replicas']}" if "replicas" in line else ""
    return f"{elapsed_s:6.1f} s  {line['step']:<10} {what}{': ' + why if why else ''}"
