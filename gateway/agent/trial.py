"""A candidate as nginx takes it: whoever it refuses goes down a rung, until it refuses nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.adapters import nginx_test
from gateway.adapters.certificates import CertificateFiles
from gateway.adapters.configuration import ConfigurationFiles
from gateway.adapters.nginx_test import Refusal
from gateway.adapters.render import Rendered
from gateway.agent.candidate import Candidate

# Runs of nginx's test, which names one mistake each; after so many, all that is new goes at once.
ROUNDS = 30


class Unusable(Exception):
    """The candidate can't go live, and no single site is to blame."""


def tested(
    candidate: Candidate, files: ConfigurationFiles, pairs: CertificateFiles, *, trusted: str | None
) -> Rendered:
    """The candidate as nginx takes it, written down; sites that it refuses are demoted.

    `trusted` was tested before. Raises Unusable when no site is to blame, RenderError.
    """
    trial = Trial(files, pairs, trusted)
    while trial.runs < ROUNDS * 2:
        rendered = candidate.rendered()
        refusal = trial.refusal(candidate, rendered)
        if refusal is None:
            return rendered
        blamed, new = candidate.blamed(refusal), candidate.changed()
        if trial.runs >= ROUNDS:
            blamed = new
        elif blamed == new and len(new) > 1:
            blamed = trial.guilty(candidate, new)
        if not blamed:
            raise Unusable(refusal.said)
        for name in blamed:
            candidate.demote(name, f"nginx: {refusal.said}")
    raise Unusable("nginx refuses too much of it")


class Trial:
    """nginx's test of one form of the candidate after another; `runs` counts them."""

    def __init__(self, files: ConfigurationFiles, pairs: CertificateFiles, trusted: str | None) -> None:
        self._files, self._pairs, self._trusted = files, pairs, trusted
        self.runs = 0

    def refusal(self, candidate: Candidate, rendered: Rendered) -> Refusal | None:
        if rendered.generation == self._trusted:  # it may be live: it is not even written again
            return None
        self.runs += 1
        self._pairs.write(candidate.certificates.used)
        return nginx_test.refusal(self._files.write(rendered))

    def guilty(self, candidate: Candidate, suspects: Sequence[str]) -> list[str]:
        """The one of them that nginx takes no more, for want of a name in what nginx said; else all."""

        def refused(count: int) -> bool:
            other = candidate.without(suspects[count:])
            return self.refusal(other, other.rendered()) is not None

        found = first_refused(len(suspects), refused)
        return [suspects[found - 1]] if found else list(suspects)


def first_refused(count: int, refused: Callable[[int], bool]) -> int:
    """The least n with refused(n), 0 to `count`, which is known to be refused; found by halving."""
    if refused(0):
        return 0
    taken, least = 0, count
    while least - taken > 1:
        middle = (taken + least) // 2
        taken, least = (taken, middle) if refused(middle) else (middle, least)
    return least
