"""Which nginx servers a site has: what answers for which of its names, over which scheme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.core.model import Site
from gateway.core.serving import Certificate, HttpsMethod


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
