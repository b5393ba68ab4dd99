"""Which nginx servers a site has: what answers for which of its names, over which scheme.

Sites with a path have theirs together: each stands in them with locations of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.model import Site
from gateway.core.serving import Certificate, HttpsMethod, Protocol


class Act(StrEnum):
    SERVE = "serve"
    REDIRECT = "redirect"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client of one name gets. A redirect leads to `scheme` and `host`; host "" is the same one."""

    act: Act
    http: bool
    certificate: Certificate | None = None  # over HTTPS, with this one
    scheme: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    names: tuple[str, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class Shared:
    """A server of sites with a path. `sites`: whose locations stand in it; none where it does not serve."""

    server: Server
    sites: tuple[Site, ...] = ()

    @property
    def has_rest(self) -> bool:
        """Whether a site has what no longer path leads to."""
        return any(site.path == "/" for site in self.sites)

    @property
    def is_http2(self) -> bool:
        return bool(self.server.answer.certificate) or any(
            site.proxying.protocol is Protocol.GRPC for site in self.sites
        )


def servers(site: Site, certificates: Mapping[str, Certificate]) -> tuple[Server, ...]:
    """`certificates`: by domain. Names that are answered alike share a server."""
    names: dict[Answer, list[str]] = {}
    for domain in site.domains:
        for answer in _answers(site.tls.method, certificates.get(domain)):
            names.setdefault(answer, []).append(domain)
    for name, target in site.redirects:
        certificate, goal = (
            None if site.tls.method is HttpsMethod.NOHTTPS else certificates.get(domain)
            for domain in (name, target)
        )
        scheme = "https" if goal and not goal.expired else "http"
        answer = Answer(Act.REDIRECT, http=True, certificate=certificate, scheme=scheme, host=target)
        names.setdefault(answer, []).append(name)
    return tuple(Server(tuple(domains), answer) for answer, domains in names.items())


def _answers(method: HttpsMethod, certificate: Certificate | None) -> Iterator[Answer]:
    if certificate is None or method is HttpsMethod.NOHTTPS:
        yield Answer(Act.SERVE, http=True)
    elif method is HttpsMethod.NOHTTP:
        yield Answer(Act.CLOSE, http=True)
        yield Answer(Act.SERVE, http=False, certificate=certificate)
    elif method is HttpsMethod.NOREDIRECT or certificate.expired:
        # An expired certificate still serves those who accept it, but nobody is sent to it.
        yield Answer(Act.SERVE, http=True, certificate=certificate)
    else:
        yield Answer(Act.REDIRECT, http=True, scheme="https")
        yield Answer(Act.SERVE, http=False, certificate=certificate)


def shared(located: Iterable[tuple[Site, Sequence[Server]]]) -> tuple[Shared, ...]:
    """The servers of sites with a path; `located` has each with those that it would have alone.

    Of sites with a name in common the first says how the name is answered. Names that are answered alike,
    by the same sites, share a server.
    """
    answers: dict[str, list[Answer]] = {}
    there: dict[str, list[Site]] = {}
    for site, own in located:
        new = [(name, server.answer) for server in own for name in server.names if name not in answers]
        for name, answer in new:
            answers.setdefault(name, []).append(answer)
        for domain in site.domains:
            there.setdefault(domain, []).append(site)
    names: dict[tuple[Answer, tuple[Site, ...]], list[str]] = {}
    for name in sorted(answers):
        by_path = tuple(sorted(there.get(name, ()), key=lambda site: site.path or ""))
        for answer in answers[name]:
            sites = by_path if answer.act is Act.SERVE else ()
            names.setdefault((answer, sites), []).append(name)
    return tuple(Shared(Server(tuple(n), answer), sites) for (answer, sites), n in names.items())
