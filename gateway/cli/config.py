from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli import options
from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.agent.offline import Found

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
config_dir: Decorator = click.option(
    "--config-dir", metavar="DIR", help="The config folder; else GATEWAY_CONFIG_DIR, else /etc/gateway."
)
env_file: Decorator = click.option("--env-file", metavar="FILE", help="Instead of .env in the config folder.")


@click.group("config")
def command() -> None:
    """Show and check the configuration without applying it. Needs no running gateway.

    \b
    Example:
      gateway config check --config-dir ./config
    """


@command.command("render")
@config_dir
@env_file
@click.option("--output", metavar="DIR", help="Write the files there instead of printing them.")
@options.as_json
def render(config_dir: str | None, env_file: str | None, output: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Render what nginx would run.

    \b
    Example:
      gateway config render --config-dir ./config --output ./rendered
    """
    from gateway.agent import offline

    found = _look(config_dir, env_file)
    if output:
        offline.write(found, Path(output))
    elif as_json:
        click.echo(json.dumps({"generation": found.generation, "files": dict(found.files)}))
    else:
        for name, text in found.files.items():
            click.echo(f"# ==> {name} <==\n{text}")
    _refuse(found)


@command.command("check")
@config_dir
@env_file
@options.as_json
def check(config_dir: str | None, env_file: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say whether the configuration is without a mistake: exit code 0 or 2.

    nginx's own test is part of it where there is an nginx.

    \b
    Example:
      gateway config check --config-dir ./config --env-file ./gateway.env
    """
    found = _look(config_dir, env_file, with_nginx=True)
    nginx = {None: "left out", True: "passed", False: "refused"}[found.nginx]
    if as_json:
        problems = [{"site": site, "reason": reason} for site, reason in found.problems]
        click.echo(json.dumps({"ok": not problems, "problems": problems, "nginx_test": nginx}))
    elif not found.problems:
        sites = sum(name.startswith("sites/") and "/_" not in name for name in found.files)
        why = ": there is no nginx here" if found.nginx is None else ""
        click.echo(f"{sites} sites without a mistake; nginx's own test: {nginx}{why}")
    _refuse(found)


@command.command("diff")
@config_dir
@env_file
@options.as_json
def diff(config_dir: str | None, env_file: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show what would change in nginx's files. In the gateway's container only.

    \b
    Example:
      docker compose exec gateway gateway config diff
    """
    from gateway.agent import offline

    found = _look(config_dir, env_file, with_last_good=True)
    lines = offline.difference(found) if found.generation else []
    click.echo(json.dumps({"changed": bool(lines), "diff": lines}) if as_json else "\n".join(lines))
    _refuse(found)


def _look(
    config_dir: str | None, env_file: str | None, *, with_nginx: bool = False, with_last_good: bool = False
) -> Found:
    from gateway.agent import offline  # jinja2 and more: not for --help

    place = offline.place(os.environ, config_dir, env_file)
    return offline.look(place, with_nginx=with_nginx, with_last_good=with_last_good)


def _refuse(found: Found) -> None:
    """Exit code 2 with every problem on stderr."""
    for site, why in found.problems:
        click.echo(f"gateway: {site}: {why}" if site else f"gateway: {why}", err=True)
    if found.problems:
        raise click.exceptions.Exit(UsageError.exit_code)
