"""Options that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Duration(click.ParamType[float]):
    """Seconds: 30, 30s, 2m."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        said = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m)?", str(value))
        if said is None:
            self.fail(f"{value!r} is no time like 30s or 2m", param, ctx)
        return float(said[1]) * (60 if said[2] == "m" else 1)


DOORS = {"open": "open", "paused": "paused", "maintenance": "in maintenance"}
DURATION = _Duration()
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
value_files: Decorator = click.option(
    "--set-file",
    "value_files",
    multiple=True,
    metavar="KEY=PATH",
    help="The same from a file here: a secret is then in no command line. A last line break is left out.",
)


def chosen(values: Sequence[str], value_files: Sequence[str]) -> dict[str, str]:
    """What --set and --set-file say together. Raises click.UsageError naming the option and the file."""
    found = pairs("--set", values)
    for key, name in pairs("--set-file", value_files).items():
        if key in found:
            raise click.UsageError(f"{key} is given by --set and by --set-file")
        try:
            found[key] = Path(name).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise click.UsageError(f"--set-file {key}={name}: {why}") from error
    return found


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE arguments as a dict. Raises click.UsageError naming every bad one."""
    bad = [text for text in given if not text.partition("=")[0] or "=" not in text]
    if bad:
        raise click.UsageError(f"{option} takes KEY=VALUE, not {', '.join(map(repr, bad))}")
    return {key: value for key, _, value in (text.partition("=") for text in given)}
