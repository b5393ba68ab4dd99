from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect
from gateway.cli.follow import follow, whoami


@click.command("deploy")
@options.site
@options.images
@options.values
@options.value_files
@click.option("--stage", is_flag=True, help="Stop before the switch; `gateway switch SITE` goes on.")
@options.timeout
@options.detach
@options.as_json
def command(
    site: str,
    images: tuple[str, ...],
    values: tuple[str, ...],
    value_files: tuple[str, ...],
    stage: bool,  # noqa: FBT001
    timeout_s: float | None,
    detach: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
) -> None:
    """Bring a release up beside the live one, prove it healthy, and switch to it.

    Ctrl-C undoes it: the previous release answers again.

    \b
    Example:
      gateway deploy shop --image app=shop:2 --set LOG_LEVEL=info
    """
    body = {
        "images": options.pairs("--image", images),
        "values": options.chosen(values, value_files),
        "staged": stage,
        "by": whoami(),
    }
    with connect() as client:
        deployment = client.post(f"/sites/{site}/deploy", body)
        if detach:
            said = f"{deployment['deployment']} has begun: {deployment['release']} to {deployment['slot']}"
            click.echo(json.dumps(deployment) if as_json else said)
            return
        until = "ready" if stage else "succeeded"
        follow(client, deployment, as_json=as_json, timeout_s=timeout_s, expected=until)
