from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect


@click.command("pause")
@options.site
@click.option(
    "--for",
    "for_s",
    type=options.DURATION,
    default="30s",
    show_default=True,
    help="Longest that a request is held, like 30s or 2m; up to 10m.",
)
@options.as_json
def command(site: str, for_s: float, as_json: bool) -> None:  # noqa: FBT001
    """Hold new requests, and let them in on `resume` or when another release goes live.

    Those that are still held when the time is over get the maintenance page; the pause is over then.

    \b
    Example:
      gateway pause shop --for 30s
      gateway resume shop
    """
    with connect() as client:
        told = client.post(f"/sites/{site}/pause", {"for_s": for_s})
    click.echo(json.dumps(told) if as_json else f"{site}: new requests are held for up to {for_s:g} s")
