from __future__ import annotations

import json
from typing import Any

import click

from gateway.cli import options
from gateway.cli.client import connect
from gateway.core.model import InFlight
from gateway.errors import UsageError

# What nginx runs for a site that is not as it is configured.
STANDINGS = {
    "waiting": "keeps its previous settings",
    "last_good": "quarantined, with its last good configuration",
    "unavailable": "quarantined",
    "left_out": "quarantined",
    "dropped": "dropped",
}

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
        found = []
        for name in names:
            try:
                found.append(client.get(f"/sites/{name}/status"))
            except UsageError:
                if site:
                    raise  # else it went while we asked
        problems = client.get("/configuration")["problems"]
    if problems and as_json:
        click.echo(json.dumps({"problems": problems}))
    elif problems:
        click.echo("\n".join(f"configuration: {problem}" for problem in problems))
    for status in found:
        if as_json:
            click.echo(json.dumps(status))
            continue
        domains = f" ({', '.join(status['domains'])})" if status["domains"] else ""
        click.echo(f"{status['site']}{domains}: {_answer(status)}")
        for reason in status["configuration"]["reasons"]:
            click.echo(f"  {STANDINGS[status['configuration']['standing']]}: {reason}")
        for slot, held in status["slots"].items():
            busy = _in_flight(held["in_flight"])
            if held.get("sessions"):  # a gateway of an older image does not say
                busy += f", {held['sessions']} sessions stay with it"
            wrong = f", {held['problem']}" if held["problem"] else ""
            click.echo(f"  {slot:<5} {held['release'] or 'empty'}{busy}{wrong}")
        for found in status["certificates"]:
            if found["problem"]:
                click.echo(f"  certificate of {found['domain']}: {found['problem']}")
            elif found["days_left"] < SOON_DAYS:
                click.echo(f"  certificate of {found['domain']}: {found['days_left']} days left")
        if running := status["deployment"]:
            left = ", ".join(f"{clock} {left_s:.0f} s" for clock, left_s in running["left_s"].items())
            waiting = running["waiting"] or (left and f"left: {left}")
            waiting = f": {waiting}" if waiting else ""
            click.echo(f"  {running['deployment']} is {running['phase']} ({running['release']}){waiting}")


def _in_flight(counts: dict[str, int] | None) -> str:
    return "" if counts is None else f", {InFlight(**counts) or 'nothing'} in flight"


def _answer(status: dict[str, Any]) -> str:
    """What a visitor of the site gets."""
    match status["configuration"]["standing"]:
        case "unavailable":
            return "503"
        case "left_out" | "dropped":
            return "no answer"
    live = f"{status['release']} in {status['live']}" if status["live"] else "the maintenance page"
    match status.get("door"):  # a gateway of an older image does not say
        case "maintenance":
            return f"the maintenance page, by order (behind it: {live})"
        case "paused":
            return f"{live}; new requests are held for {status['paused_s']:.0f} s more"
    return live
