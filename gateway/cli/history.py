from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("history")
@options.site
@options.as_json
def command(site: str, as_json: bool) -> None:  # noqa: FBT001
    """List the site's deployments, newest first, each with how and why it ended.

    \b
    Example:
      gateway history shop
    """
    with connect() as client:
        found = client.get(f"/sites/{site}/history")
    for d in found:
        if as_json:
            click.echo(json.dumps(d))
            continue
        when = datetime.fromtimestamp(d["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        why = f": {d['reason']}" if d["reason"] else ""
        click.echo(f"{d['deployment']:<5} {when} {d['kind']:<8} {d['release']:<5} {d['phase']}{why}")
    if not found and not as_json:
        click.echo(f"{site}: nothing was deployed yet")
