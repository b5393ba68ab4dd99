from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect
from gateway.cli.follow import follow, follow_undo, whoami


@click.command("rollback")
@options.site
@click.option("--to", metavar="RELEASE", help="An earlier release, like r41; default: the one before.")
@click.option("--force", is_flag=True, help="Also across a contract; says what breaks.")
@options.timeout
@options.detach
@options.as_json
def command(
    site: str,
    to: str | None,
    force: bool,  # noqa: FBT001
    timeout_s: float | None,
    detach: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring the previous release back: at once while it is warm.

    \b
    Example:
      gateway rollback shop
      gateway rollback shop --to r41
    """
    with connect() as client:
        deployment = client.post(f"/sites/{site}/rollback", {"to": to, "by": whoami(), "force": force})
        if deployment.get("warning"):  # a gateway of an older image has none
            click.echo(f"warning: {deployment['warning']}", err=True)
        if detach:
            click.echo(json.dumps(deployment) if as_json else f"{deployment['deployment']} goes back")
        elif deployment["back"]:
            follow_undo(client, deployment, as_json=as_json)
        else:
            follow(client, deployment, as_json=as_json, timeout_s=timeout_s)
