"""The command line: each verb parses, calls the controller, prints, and returns a code."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import traceback

import click

from gateway.cli import (
    abort,
    cleanup,
    config,
    deploy,
    export,
    history,
    maintenance,
    metrics,
    pause,
    plan,
    resume,
    rollback,
    status,
    switch,
)
from gateway.errors import Bug, GatewayError

EXIT_CODES = """\b
Exit codes:
  0 done                                1 aborted; live untouched or restored
  2 usage or configuration              3 a bug
  4 failed, needs a person              5 busy: another deployment runs
  6 Docker or controller unreachable    130 interrupted; live untouched or restored
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gateway")
def cli() -> None:
    """Update containers without losing a request.

    \b
    Example:
      gateway plan shop --image app=shop:2
      gateway deploy shop --image app=shop:2
      gateway rollback shop
    """


for _verb in (
    *(deploy, switch, rollback, status, history, metrics, plan, abort),
    *(pause, resume, maintenance, cleanup, config, export),
):
    cli.add_command(_verb.command)


def main() -> None:
    """The one boundary that turns an error into a message and an exit code."""
    # A terminated CLI ends as any program does, its clean-up included; the deployment goes on.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except GatewayError as error:
        for line in str(error).splitlines():
            click.echo(f"gateway: {line}", err=True)
        if "--json" in sys.argv:
            problems = str(error).splitlines()
            told = {"error": problems[0], "problems": problems, "exit_code": error.exit_code}
            click.echo(json.dumps(told))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    except Exception:
        traceback.print_exc()
        click.echo(f"gateway: this is a bug; please report it with {_report()}", err=True)
        sys.exit(Bug.exit_code)


def _report() -> str:
    """Where the report of what just failed was written."""
    from importlib.metadata import version  # 0.03 s, and a bug is rare

    # Without the values of --set, which may be secret.
    said = re.sub(r"(--set[= ][^= ]+=).*?(?= --|$)", r"\1...", " ".join(sys.argv), flags=re.S)
    about = f"gateway {version('gateway')}, Python {sys.version}\n{said}\n\n"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="gateway-bug-", suffix=".txt", delete=False) as file:
            file.write(about + traceback.format_exc())
            return file.name
    except OSError:
        return "the lines above"
