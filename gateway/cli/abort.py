from __future__ import annotations

import click

from gateway.cli import options
from gateway.cli.client import connect
from gateway.cli.follow import follow_undo


@click.command("abort")
@options.site
@options.as_json
def command(site: str, as_json: bool) -> None:  # noqa: FBT001
    """Undo the running deployment: the previous release answers again.

    \b
    Example:
      gateway abort shop
    """
    with connect() as client:
        follow_undo(client, client.post(f"/sites/{site}/abort"), as_json=as_json)
