"""How a site is served: over which schemes, within which limits. Values, without effects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum


class HttpsMethod(StrEnum):
    """What a site with a certificate does, in nginx-proxy's words. Without one it is served over HTTP."""

    REDIRECT = "redirect"  # HTTP is sent to HTTPS
    NOREDIRECT = "noredirect"  # both serve
    NOHTTP = "nohttp"  # HTTPS alone
    NOHTTPS = "nohttps"  # HTTP alone


class Protocol(StrEnum):
    """What the application speaks."""

    HTTP = "http"
    GRPC = "grpc"


@dataclass(frozen=True, slots=True)
class Tls:
    method: HttpsMethod = HttpsMethod.REDIRECT
    hsts_s: int = 0  # Strict-Transport-Security: max-age; 0: the header is left to the application
    cert_name: str | None = None  # the certificate's file name without .crt; None: the domain's


@dataclass(frozen=True, slots=True)
class Proxying:
    protocol: Protocol = Protocol.HTTP
    max_body: int = 100 << 20  # bytes; 0: any size
    connect_timeout_s: float = 2.0
    read_timeout_s: float = 3600.0  # between two reads of an answer
    send_timeout_s: float = 3600.0  # between two writes of a request
    stream_uploads: bool = False
    gzip: bool = False
    rate_limit: str | None = None  # of one client address, in nginx's words: 20r/s, 100r/m
    rate_burst: int = 20  # requests above the rate that are still let through
    connection_limit: int | None = None  # requests in flight of one client address


@dataclass(frozen=True, slots=True)
class Edge:
    """What clients meet before any site: the same for all."""

    https_port: int = 443
    external_https_port: int = 443  # as clients see it, for redirects
    http3: bool = False
    acme_dir: str = "/var/www/acme"
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-* count
    forwarded_header: bool = False  # RFC 7239


@dataclass(frozen=True, slots=True)
class Certificate:
    """What nginx needs to speak TLS for a domain, as PEM text. `expired`: or not valid yet."""

    chain: str
    key: str = field(repr=False)
    expires_at: float  # seconds since the epoch
    expired: bool = False

    @property
    def digest(self) -> str:
        """Names this very pair: a renewed certificate has another."""
        return hashlib.sha256(f"{self.chain}\0{self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class DomainCertificate:
    """What was found for a domain. `problem` is what a person should mend; it may concern a usable one."""

    domain: str
    certificate: Certificate | None
    problem: str = ""
