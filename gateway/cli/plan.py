from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("plan")
@options.site
@options.images
@options.values
@options.value_files
@options.as_json
def command(
    site: str,
    images: tuple[str, ...],
    values: tuple[str, ...],
    value_files: tuple[str, ...],
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show what a deploy would do. Changes nothing.

    \b
    Example:
      gateway plan shop --image app=shop:2
    """
    body = {"images": options.pairs("--image", images), "values": options.chosen(values, value_files)}
    with connect() as client:
        plan = client.post(f"/sites/{site}/plan", body)
    if as_json:
        click.echo(json.dumps(plan))
        return
    click.echo(f"{site}: {plan['live'] or 'the maintenance page'} is live; {plan['release']} would:")
    for number, step in enumerate(plan["steps"], start=1):
        click.echo(f"  {number}. {step}")
    click.echo("changes:" if plan["changes"] else "changes: none")
    for line in plan["changes"]:
        click.echo(f"  {line}")
    for warning in plan["warnings"]:
        click.echo(f"warning: {warning}", err=True)
