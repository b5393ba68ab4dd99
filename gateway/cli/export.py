from __future__ import annotations

import json
from typing import Any

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.group("export")
def command() -> None:
    """Write what is deployed here for something else.

    \b
    Example:
      gateway export kubernetes shop > shop.yaml
    """


@command.command("kubernetes")
@options.site
@options.images
@options.values
@options.value_files
@click.option(
    "--slot", type=click.Choice(["blue", "green"]), default="blue", help="Where it is to run. [blue]"
)
@click.option(
    "--share", type=click.IntRange(0, 100), default=100, help="Percent of the visitors that it gets. [100]"
)
@click.option("--parent", default="gateway", metavar="NAME", help="The Gateway of the routes. [gateway]")
@options.as_json
def kubernetes(
    site: str,
    images: tuple[str, ...],
    values: tuple[str, ...],
    value_files: tuple[str, ...],
    slot: str,
    share: int,
    parent: str,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Write the stack as Deployments, Services, an HTTPRoute with weights, and a Job for `expand`.

    Values of environment variables are in it. What has no equivalent is said on stderr.

    \b
    Example:
      gateway export kubernetes shop --image app=shop:2 --slot green --share 10 > green.yaml
    """
    body: dict[str, Any] = {
        "images": options.pairs("--image", images),
        "values": options.chosen(values, value_files),
    }
    body |= {"slot": slot, "share": share, "parent": parent}
    with connect() as client:
        found = client.post(f"/sites/{site}/kubernetes", body)
    for warning in found["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": found["manifests"]}))
        return
    import yaml  # 0.02 s

    click.echo(yaml.safe_dump_all(found["manifests"], sort_keys=False), nl=False)
