"""Which of Docker's endpoints the controller uses, and the proxy that lets nothing else through.

The list is data: `docker-endpoints.txt`, written by scripts/endpoints from what the tests' deploys asked for.
`python -m gateway.adapters.docker_endpoints` prints the proxy's nginx configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.adapters.render import templates_dir

LIST = Path(__file__).with_name("docker-endpoints.txt")
EVERYTHING = (("[A-Z]+", "/.*"),)
# In a path, what names one thing of a kind: an id, a container's name, an image's reference.
_NAMED = {
    r"/images/.+/(json|push|tag)$": r"/images/[A-Za-z0-9._:@/-]+/\1",
    r"/(containers|networks|volumes|exec)/(?!json$|create$|prune$)[^/]+": r"/\1/[A-Za-z0-9_.-]+",
}


def pattern(path: str) -> str:
    """The pattern of the endpoint that a path, without the API's version, belongs to."""
    for form, general in _NAMED.items():
        if re.match(form, path):
            return re.sub(form, general, path, count=1)
    return path


def endpoints() -> list[tuple[str, str]]:
    """Method and pattern of the path."""
    return [(method, path) for method, path in map(str.split, LIST.read_text().splitlines())]


def configuration(let_through: Iterable[tuple[str, str]]) -> str:
    """nginx's, for the proxy."""
    shipped = Environment(  # nginx's configuration is not HTML
        loader=FileSystemLoader(templates_dir()),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=False,
    )
    return shipped.get_template("docker-proxy.conf.j2").render(endpoints=list(let_through))


if __name__ == "__main__":
    print(configuration(endpoints()))
