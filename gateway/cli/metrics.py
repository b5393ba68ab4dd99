from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("metrics")
@options.as_json
def command(as_json: bool) -> None:  # noqa: FBT001
    """Print what a monitoring system would read, in Prometheus' text format.

    \b
    Example:
      gateway metrics
    """
    with connect() as client:
        told = client.get("/metrics")
    if as_json:
        for sample in told["samples"]:
            click.echo(json.dumps(sample))
    else:
        click.echo(told["text"], nl=False)
