"""A snippet stays where it stands, and says nothing that no site may."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.adapters.render import Place
from gateway.agent.candidate import Candidate
from gateway.core.parseback import halves
from gateway.core.servers import servers
from gateway.core.serving import Certificate
from tests.fuzz.escape import Escape
from tests.fuzz.statements import statements
from tests.fuzz.twin import renderer

# What a snippet may not begin a statement with, whatever core.snippet says.
NEVER = re.compile(
    r"load_module|include|.*lua.*|listen|server|server_name|proxy_pass|ssl_.*|user|env|error_log"
)


def balanced(candidate: Candidate) -> None:
    """Each ends the statements that it begins and no other."""
    for good in candidate.good().values():
        try:
            said = statements(good.snippet)
        except ValueError as error:
            raise Escape(f"a snippet that nginx reads otherwise: {error}: {good.snippet!r}") from error
        for words in said:
            if NEVER.fullmatch(words[0]):
                raise Escape(f"a snippet says {words}")


def inside(candidate: Candidate, place: Place, certificates: Mapping[str, Mapping[str, Certificate]]) -> None:
    """With a snippet in it a file has outermost what it has without. `certificates`: by site, by domain."""
    for name, good in candidate.good().items():
        site = candidate.at(name)
        if good.snippet and site:
            bare = renderer(place).site(site, servers(site, certificates[name]))
            if [_outermost(half) for half in halves(good.text)] != [
                _outermost(half) for half in halves(bare)
            ]:
                raise Escape(f"the snippet of {name} stands outside of its server")


def _outermost(text: str) -> list[list[str]]:
    try:
        return statements(text, depth=0)
    except ValueError as error:
        raise Escape(f"a file that ends what it does not begin: {error}") from error
