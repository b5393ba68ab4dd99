from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("cleanup")
@options.site
@options.as_json
def command(site: str, as_json: bool) -> None:  # noqa: FBT001
    """Stop everything of the site that does not answer: warm and left-over stacks.

    \b
    Example:
      gateway cleanup shop
    """
    with connect() as client:
        done = client.post(f"/sites/{site}/cleanup")
    click.echo(json.dumps(done) if as_json else f"{site}: stopped {', '.join(done['stopped']) or 'nothing'}")
