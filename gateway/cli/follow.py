"""Follow a deployment until it no longer concerns the one who ordered it, and say how it went."""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import click

from gateway import errors
from gateway.cli.client import Client
from gateway.cli.terminal import WORDS, Show, shown

# From here on the order is carried out; what follows (keeping, retiring) needs no one to wait.
ENDS = ("succeeded", "aborted", "failed")
DONE = ("paused", "holding", "keeping", "retiring", "contracting", *ENDS)
WAY_BACK = ("reverting", "unwinding", "aborting", "reporting", *ENDS)
FROM_THE_SWITCH = (
    *("preparing", "stepping", "paused", "cutover", "announcing", "observing", "draining"),
    *(*DONE, *WAY_BACK),
)


def whoami() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()


def follow(
    client: Client,
    deployment: dict[str, Any],
    *,
    as_json: bool,
    timeout_s: float | None,
    expected: str = "succeeded",
    only: Collection[str] = tuple(WORDS),
    pauses: int = 0,
) -> None:
    """Print each step as it happens. Ctrl-C and the timeout undo the deployment before we end.

    `expected` is how it should end: "succeeded", or "ready" for a staged one. `pauses`: how often it was
    paused before this order, which is told again.
    Raises GatewayError (exit 1) when it was aborted, Failed (exit 4) when it needs a person.
    """
    number, began = int(deployment["deployment"][1:]), time.monotonic()
    try:
        until = (expected, *ENDS) if expected == "ready" else DONE
        final = _print_steps(
            client,
            number,
            began,
            as_json=as_json,
            timeout_s=timeout_s,
            until=until,
            only=only,
            pauses=pauses,
        )
    except (KeyboardInterrupt, TimeoutError) as interruption:
        final = _undo(client, deployment, began, as_json=as_json)
        _finish(client, number, final, as_json=as_json, expected="aborted")
        if isinstance(interruption, KeyboardInterrupt):
            raise
        raise errors.GatewayError(f"not done within {timeout_s:g} s: undone") from interruption
    _finish(client, number, final, as_json=as_json, expected=expected)


def _print_steps(
    client: Client,
    number: int,
    began: float,
    *,
    as_json: bool,
    timeout_s: float | None,
    until: Collection[str] = DONE,
    only: Collection[str] = tuple(WORDS),
    pauses: int = 0,
) -> dict[str, Any] | None:
    """The whole deployment as it is where we stop; None when the controller went away."""
    said = ""  # a reason is told once, by the step at which it came up
    with _as_json() if as_json else shown() as show:
        for line in client.follow(number):
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                raise TimeoutError
            final: dict[str, Any] | None = line.pop("deployment", None)
            if line.get("step") not in only:
                continue
            reason = line.get("reason", "")
            show(line if as_json or reason != said else {**line, "reason": ""}, time.monotonic() - began)
            said = reason or said
            if line["step"] in until and "waiting" not in line:
                if line["step"] == "paused" and (pauses := pauses - 1) >= 0:
                    continue
                return final
    return None


@contextmanager
def _as_json() -> Iterator[Show]:
    yield lambda line, elapsed_s: click.echo(json.dumps(line))


def follow_undo(client: Client, deployment: dict[str, Any], *, as_json: bool) -> None:
    """Follow a deployment that is on its way back until it is undone. Raises Failed."""
    number = int(deployment["deployment"][1:])
    final = _print_steps(
        client, number, time.monotonic(), as_json=as_json, timeout_s=None, until=ENDS, only=WAY_BACK
    )
    _finish(client, number, final, as_json=as_json, expected="aborted")
    if not as_json:
        click.echo(f"{deployment['site']}: {deployment['previous'] or 'the maintenance page'} answers again")


def _undo(
    client: Client, deployment: dict[str, Any], began: float, *, as_json: bool
) -> dict[str, Any] | None:
    click.echo("interrupted: undoing it; wait for the end", err=True)
    try:
        client.post(f"/sites/{deployment['site']}/abort")
    except (errors.Busy, errors.UsageError) as late:
        click.echo(f"gateway: {late}", err=True)
        return None
    number = int(deployment["deployment"][1:])
    return _print_steps(client, number, began, as_json=as_json, timeout_s=None, until=ENDS, only=WAY_BACK)


def _finish(
    client: Client, number: int, final: dict[str, Any] | None, *, as_json: bool, expected: str
) -> None:
    final = final or client.get(f"/deployments/{number}")
    if as_json:
        click.echo(json.dumps(final))
    elif final["outcome"] == expected == "aborted":
        pass  # as ordered
    elif final["phase"] == expected == "ready":
        click.echo(f"{final['release']} stands ready in {final['slot']}: `gateway switch {final['site']}`")
    elif final["outcome"] == "succeeded":
        switched = f" (switched in {final['switch_ms']:.1f} ms)" if final["switch_ms"] is not None else ""
        click.echo(f"{final['site']}: {final['release']} is live in {final['slot']}{switched}")
    else:
        _print_diagnosis(final["diagnosis"] or {})
    if expected in (final["outcome"], final["phase"]):
        return
    error = _unexpected(final)
    if as_json:
        # The deployment is the answer, and it was told: an error object would come after it.
        click.echo(f"gateway: {error}", err=True)
        raise click.exceptions.Exit(error.exit_code)
    raise error


def _unexpected(final: dict[str, Any]) -> errors.GatewayError:
    """What to say of a deployment that did not end as it should."""
    if final["phase"] == "paused":
        return errors.Failed(
            f"{final['deployment']} paused: {final['reason']};"
            f" `gateway switch {final['site']}` goes on, `gateway abort {final['site']}` goes back"
        )
    if final["outcome"] == "running":
        return errors.ControllerUnreachable(
            f"the controller restarted and goes on with {final['deployment']}: `gateway history`"
        )
    if final["outcome"] == "succeeded":
        return errors.GatewayError(f"too late: {final['release']} is live")
    live = f"{final['previous'] or 'the maintenance page'} answers"
    said = f"{final['deployment']} {final['outcome']}: {final['reason']}"
    if final["outcome"] == "failed":
        return errors.Failed(f"{said}. Nothing was stopped: look at `gateway status {final['site']}`")
    return errors.GatewayError(f"{said}; {live}")


def _print_diagnosis(found: dict[str, Any]) -> None:
    if probe := found.get("probe"):
        click.echo(f"last probe: {probe['detail']}", err=True)
        if probe["body"]:
            click.echo(f"  body: {probe['body'][:200].strip()}", err=True)
    for c in found.get("containers", ()):
        health = f", health {c['health']}" if c["health"] else ""
        ended = f", exit code {c['exit_code']}" if c["exit_code"] is not None else ""
        memory = ", out of memory" if c["oom_killed"] else ""
        click.echo(f"{c['name']}: {c['state']}{health}{ended}{memory}", err=True)
    for name, lines in found.get("logs", {}).items():
        click.echo(f"last lines of {name}:", err=True)
        for text in lines:
            click.echo(f"  {text}", err=True)
    if found.get("hint"):
        click.echo(f"hint: {found['hint']}", err=True)
