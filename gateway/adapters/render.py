"""Sites -> nginx configuration, through templates/. The values were allow-listed by settings."""

from __future__ import annotations

import hashlib
import resource
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from gateway.core.model import Site
from gateway.core.servers import servers
from gateway.core.serving import Certificate, Edge, Protocol, Proxying
from gateway.paths import CONF_DIR, OBSERVED_LOG, ROUTING_DIR, RUN_DIR, TLS_DIR

DOCKER_DNS = "127.0.0.11"
GENERATION_CHARS = 12
# A pipe takes 4 KiB in one piece: lines of two workers never mix (man 7 pipe).
BUFFERED = "buffer=4k flush=1s"
DESCRIPTORS = 20480
GZIP_TYPES = (
    "text/plain text/css text/xml text/javascript application/javascript application/json "
    "application/xml application/rss+xml application/wasm image/svg+xml"
)


def templates_dir() -> Path:
    """In an installed package the templates lie inside it; in a checkout beside it."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


@dataclass(frozen=True, slots=True)
class Place:
    """Where nginx finds what the configuration names."""

    http_port: int = 80
    resolver: str = DOCKER_DNS
    conf_dir: str = CONF_DIR
    routing_dir: str = ROUTING_DIR
    run_dir: str = RUN_DIR
    observed_log: str = OBSERVED_LOG
    tls_dir: str = TLS_DIR
    edge: Edge = field(default_factory=Edge)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The generation's name, which is a hash of its content, and its files: relative path -> text."""

    generation: str
    files: Mapping[str, str]


class Renderer:
    """Reads the templates once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._environment = SandboxedEnvironment(
            loader=FileSystemLoader(templates_dir()),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # nginx's configuration is not HTML; settings refuse every special character
        )
        place_values = {name: getattr(place, name) for name in place.__slots__}
        self._environment.filters["milliseconds"] = lambda seconds: f"{round(seconds * 1000)}ms"
        self._environment.globals |= place_values | _shared_by_all(place.edge)

    def site(self, site: Site, certificates: Mapping[str, Certificate] | None = None) -> str:
        """The site's own file. Raises jinja2.TemplateError on a template's mistake."""
        template = self._environment.get_template("site.conf.j2")
        return template.render(site=site, servers=servers(site, certificates or {}))

    def assemble(self, sites: Mapping[Site, str]) -> Rendered:
        """What `site` gave for each, and what they share. `sites` is not empty."""
        # A worker that is being replaced must outlive the longest request that it may hold.
        patience_s = f"{max(site.drain_timeout_s for site in sites) + 5:.0f}"
        main = self._environment.get_template("main.conf.j2").render(patience_s=patience_s)
        http = self._environment.get_template("http.conf.j2")
        own = {f"sites/{site.name}.conf": text for site, text in sites.items()}
        shared = {
            "sites": list(sites),
            "shares": sorted({share for site in sites for share in site.steps}),
            "sessions": any(site.session_timeout_s for site in sites),
            "https": any(f"listen {self._place.edge.https_port} ssl;" in text for text in own.values()),
            "cleartext_http2": any(site.proxying.protocol is Protocol.GRPC for site in sites),
            "generation": "",
            "conf_dir": "",
        }
        content = [main, http.render(shared), *(f"{name}\0{text}" for name, text in sorted(own.items()))]
        generation = hashlib.sha256("\0".join(content).encode()).hexdigest()[:GENERATION_CHARS]
        shared |= {"generation": generation, "conf_dir": f"{self._place.conf_dir}/{generation}"}
        return Rendered(generation, {"main.conf": main, "http.conf": http.render(shared), **own})


def render(
    sites: Sequence[Site],
    place: Place | None = None,
    certificates: Mapping[str, Certificate] | None = None,
) -> Rendered:
    renderer = Renderer(place or Place())
    return renderer.assemble({site: renderer.site(site, certificates) for site in sites})


def _shared_by_all(edge: Edge) -> dict[str, Any]:
    trusting = bool(edge.trusted_proxies)
    return {
        "buffered": BUFFERED,
        "gzip_types": GZIP_TYPES,
        "usual": Proxying(),
        "scheme": "$gateway_scheme" if trusting else "$scheme",
        "request_id": "$gateway_request_id" if trusting else "$request_id",
        "external_port": "" if edge.external_https_port == 443 else f":{edge.external_https_port}",
        "curves": ":".join(_curves()),
        "descriptors": _descriptors(),
    }


def _descriptors() -> int:
    """Two for each of the image's worker_connections, and some for files; no more than we may ask for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)


def _curves() -> tuple[str, ...]:
    """Mozilla's guideline 6.0, as far as OpenSSL knows them: an unknown one would stop nginx."""
    hybrid = ("X25519MLKEM768",) if ssl.OPENSSL_VERSION_INFO >= (3, 5) else ()
    return (*hybrid, "X25519", "prime256v1", "secp384r1")
