"""A candidate as nginx takes it: whoever it refuses goes down a rung, until it refuses nobody."""

from __future__ import annotations

from gateway.adapters import nginx_test
from gateway.adapters.certificates import CertificateFiles
from gateway.adapters.configuration import ConfigurationFiles
from gateway.adapters.render import Rendered
from gateway.agent.candidate import Candidate

# nginx names one mistake a run; after so many, all that is new goes at once.
ROUNDS = 30


class Unusable(Exception):
    """The candidate can't go live, and no single site is to blame."""


def tested(
    candidate: Candidate, files: ConfigurationFiles, pairs: CertificateFiles, *, trusted: str | None
) -> Rendered:
    """The candidate as nginx takes it, written down; sites that it refuses are demoted.

    `trusted` was tested before. Raises Unusable when no site is to blame, RenderError.
    """
    for number in range(1, ROUNDS * 2):
        rendered = candidate.rendered()
        if rendered.generation == trusted:
            return rendered
        pairs.write(candidate.certificates.used)
        refusal = nginx_test.refusal(files.write(rendered))
        if refusal is None:
            return rendered
        blamed = candidate.blamed(refusal) if number < ROUNDS else candidate.changed()
        if not blamed:
            raise Unusable(refusal.said)
        for name in blamed:
            candidate.demote(name, f"nginx: {refusal.said}")
    raise Unusable("nginx refuses too much of it")
