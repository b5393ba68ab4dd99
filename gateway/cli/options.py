"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

site = click.argument("site")
as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
timeout: Decorator = click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0.1), help="Undo it when it is not done by then (s)."
)
detach: Decorator = click.option("--detach", is_flag=True, help="Return as soon as it has begun.")
images: Decorator = click.option(
    "--image", "images", multiple=True, metavar="SERVICE=REF", help="Image of a service of the stack."
)
values: Decorator = click.option(
    "--set", "values", multiple=True, metavar="KEY=VALUE", help="Variable of the stack's compose file."
)


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments as a dict. Raises click.UsageError naming every bad one."""
    bad = [text for text in given if not text.partition("=")[0] or "=" not in text]
    if bad:
        raise click.UsageError(f"{option} takes KEY=VALUE, not {', '.join(map(repr, bad))}")
    return {key: value for key, _, value in (text.partition("=") for text in given)}
