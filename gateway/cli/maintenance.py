from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("maintenance")
@options.site
@click.argument("to", type=click.Choice(["on", "off"]))
@options.as_json
def command(site: str, to: str, as_json: bool) -> None:  # noqa: FBT001
    """Answer all visitors with the maintenance page (503), or no more. Deploys go on behind it.

    \b
    Example:
      gateway maintenance shop on
      gateway maintenance shop off
    """
    with connect() as client:
        told = client.post(f"/sites/{site}/maintenance", {"to": to})
    click.echo(json.dumps(told) if as_json else f"{site} is {options.DOORS[told['door']]}")
