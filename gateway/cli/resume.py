from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("resume")
@options.site
@options.as_json
def command(site: str, as_json: bool) -> None:  # noqa: FBT001
    """End a pause: requests that are held go to the live release.

    \b
    Example:
      gateway resume shop
    """
    with connect() as client:
        told = client.post(f"/sites/{site}/resume")
    click.echo(json.dumps(told) if as_json else f"{site} is {options.DOORS[told['door']]}")
