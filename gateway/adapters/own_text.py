"""Sites' texts on their way into a generation's files. What has not changed is not cut and hashed again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.model import Site, Strategy
from gateway.core.parseback import halves
from gateway.core.serving import Protocol


@dataclass(frozen=True, slots=True)
class Needs:
    """What a site needs of what all share."""

    patience_s: float = 0.0
    shares: tuple[int, ...] = ()
    rolling: bool = False
    sessions: bool = False
    cleartext_http2: bool = False
    https: bool = False


class OwnText:
    """One site's. `digest` is of its name and text, `pairs` are those of the certificates that it names."""

    def __init__(self, name: str, text: str, site: Site | None, *, https_port: int) -> None:
        self.made_of = text, site
        self.files = [(f, part) for f, part in zip(files_of(name), halves(text), strict=True) if part]
        self.digest = digest((name, text))
        self.pairs = pairs_in(text)
        self.needs = _needs(site, https=f"listen {https_port} ssl;" in text)


def _needs(site: Site | None, *, https: bool) -> Needs:
    if site is None:
        return Needs(https=https)
    return Needs(
        # A worker that a reload replaces holds connections of sites that did not change: a WebSocket or an
        # answer that may be silent for the read timeout must not be cut for another site's sake.
        max(site.proxying.read_timeout_s, site.drain_timeout_s + site.websocket_timeout_s),
        # Percent that its candidates may get. How many replicas they have, only the stack says.
        tuple(range(1, 100)) if site.strategy is Strategy.ROLLING else site.steps,
        rolling=site.strategy is Strategy.ROLLING,
        sessions=site.session_timeout_s > 0,
        cleartext_http2=site.proxying.protocol is Protocol.GRPC,
        https=https,
    )


class OwnTexts:
    """Those of the generation before."""

    def __init__(self, https_port: int) -> None:
        self._https_port = https_port
        self._known: dict[str, OwnText] = {}

    def of(self, own: Mapping[str, tuple[str, Site | None]]) -> list[OwnText]:
        """By name. `own`: name -> text, and the site if it is served."""
        before, self._known = self._known, {}
        for name, made_of in sorted(own.items()):
            known = before.get(name)
            if known is None or known.made_of != made_of:
                known = OwnText(name, *made_of, https_port=self._https_port)
            self._known[name] = known
        return list(self._known.values())


def digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def pairs_in(text: str) -> frozenset[str]:
    # An expression that looks for 32 digits anywhere takes longer than all else for thousands of sites.
    return frozenset(before[-32:] for before in text.split(".crt")[:-1])


def files_of(site: str) -> tuple[str, str]:
    """Where a site's text goes: what stands beside servers or is some, and what stands in shared ones."""
    return f"sites/{site}.conf", f"paths/{site}.conf"
