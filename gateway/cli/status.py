from __future__ import annotations

import json

import click

from gateway.cli import options
from gateway.cli.client import connect

# A certificate of 90 days is usually renewed with 30 left.
SOON_DAYS = 30


@click.command("status")
@click.argument("site", required=False)
@options.as_json
def command(site: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show which release answers, what each slot holds, and what is going on.

    \b
    Example:
      gateway status
      gateway status shop --json
    """
    with connect() as client:
        names = [site] if site else client.get("/sites")
        found = [client.get(f"/sites/{name}/status") for name in names]
    for status in found:
        if as_json:
            click.echo(json.dumps(status))
            continue
        live = f"{status['release']} in {status['live']}" if status["live"] else "the maintenance page"
        click.echo(f"{status['site']} ({', '.join(status['domains'])}): {live}")
        for slot, held in status["slots"].items():
            busy = {None: "", True: ", nothing in flight", False: ", requests in flight"}[held["idle"]]
            if held["sessions"]:
                busy += f", {held['sessions']} sessions stay with it"
            wrong = f", {held['problem']}" if held["problem"] else ""
            click.echo(f"  {slot:<5} {held['release'] or 'empty'}{busy}{wrong}")
        for found in status["certificates"]:
            if found["problem"]:
                click.echo(f"  certificate of {found['domain']}: {found['problem']}")
            elif found["days_left"] < SOON_DAYS:
                click.echo(f"  certificate of {found['domain']}: {found['days_left']} days left")
        if running := status["deployment"]:
            click.echo(f"  {running['deployment']} is {running['phase']} ({running['release']})")
