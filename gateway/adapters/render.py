"""Sites -> nginx configuration, through templates/. The values were allow-listed by settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from gateway.core.model import Site
from gateway.paths import ROUTING_DIR, RUN_DIR

DOCKER_DNS = "127.0.0.11"


def templates_dir() -> Path:
    """In an installed package the templates lie inside it; in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def render(
    sites: Sequence[Site],
    *,
    generation: str,
    http_port: int = 80,
    resolver: str = DOCKER_DNS,
    routing_dir: str = ROUTING_DIR,
    run_dir: str = RUN_DIR,
) -> str:
    """The file that goes to /etc/nginx/conf.d. Raises jinja2.UndefinedError on a template's mistake."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(templates_dir()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # nginx's configuration is not HTML; settings refuse every special character
    )
    return environment.get_template("gateway.conf.j2").render(
        sites=sites,
        generation=generation,
        http_port=http_port,
        resolver=resolver,
        routing_dir=routing_dir,
        run_dir=run_dir,
    )
