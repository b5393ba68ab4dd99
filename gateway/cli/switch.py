from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect
from gateway.cli.follow import FROM_THE_SWITCH, follow, follow_undo


@click.command("switch")
@options.site
@click.argument("slot", required=False)
@options.timeout
@options.as_json
def command(site: str, slot: str | None, timeout_s: float | None, as_json: bool) -> None:  # noqa: FBT001
    """Send all traffic to the slot that stands ready (blue or green), or go on with a paused deployment.

    \b
    Example:
      gateway deploy shop --image app=shop:2 --stage
      gateway switch shop
    """
    with connect() as client:
        deployment = client.post(f"/sites/{site}/switch", {"slot": slot})
        if deployment is None:
            click.echo(json.dumps({"site": site, "slot": slot}) if as_json else f"{slot} is live already")
        elif deployment["back"]:
            follow_undo(client, deployment, as_json=as_json)
        else:
            pauses = sum(entry["phase"] == "paused" for entry in deployment["timeline"])
            follow(
                client,
                deployment,
                as_json=as_json,
                timeout_s=timeout_s,
                only=FROM_THE_SWITCH,
                pauses=pauses,
            )
