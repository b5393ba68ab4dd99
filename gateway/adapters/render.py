"""Sites -> nginx configuration, through templates/. The values were allow-listed by settings."""

from __future__ import annotations

import hashlib
import resource
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import (
    BytecodeCache,
    ChoiceLoader,
    DictLoader,
    FileSystemLoader,
    StrictUndefined,
    TemplateSyntaxError,
)
from jinja2.bccache import Bucket
from jinja2.sandbox import SandboxedEnvironment

from gateway.core.model import Site
from gateway.core.servers import Server, servers
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


class _Compiled(BytecodeCache):
    """Templates as code, the last of each: another Renderer of this process compiles nothing again."""

    def __init__(self) -> None:
        self._code: dict[str, tuple[str, Any]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        source, code = self._code.get(bucket.key, ("", None))
        if source == bucket.checksum:
            bucket.code = code

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.checksum, bucket.code


_COMPILED = _Compiled()


class Renderer:
    """Templates as they were when it was made: `own` ones (file name -> text) before the shipped ones."""

    def __init__(self, place: Place, own: Mapping[str, str] | None = None) -> None:
        self._place = place
        shipped = FileSystemLoader(templates_dir())
        self._shipped = SandboxedEnvironment(
            loader=shipped,
            bytecode_cache=_COMPILED,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # nginx's configuration is not HTML; settings refuse every special character
        )
        place_values = {name: getattr(place, name) for name in place.__slots__}
        self._shipped.filters["milliseconds"] = lambda seconds: f"{round(seconds * 1000)}ms"
        self._shipped.globals |= place_values | _shared_by_all(place.edge)
        # What stands outside http {} can load modules: that is not for an own template.
        replaceable = {name: text for name, text in (own or {}).items() if name != "main.conf.j2"}
        self._environment = self._shipped.overlay(loader=ChoiceLoader([DictLoader(replaceable), shipped]))

    def site(self, site: Site, servers: Sequence[Server], snippet: str = "") -> str:
        """The site's own file. Raises RenderError on a template's mistake."""
        return self._rendered("site.conf.j2", site=site, servers=servers, snippet=_whole_lines(snippet))

    def snippet(self, site: Site, text: str) -> str:
        """A snippet that is a template, with the site's values. Raises RenderError."""
        try:
            return self._shipped.from_string(text).render(site=site)
        except Exception as error:  # whatever an expression in it raised
            raise _render_error(f"snippets/{site.name}.conf.j2", error) from error

    def unavailable(self, name: str, servers: Sequence[Server]) -> str:
        """The file of a site that can't be served: its domains answer 503."""
        return self._shipped.get_template("unavailable.conf.j2").render(name=name, servers=servers)

    def assemble(self, sites: Sequence[Site], own: Mapping[str, str]) -> Rendered:
        """What `sites` share, and each one's own file: name -> text. Raises RenderError."""
        # A worker that a reload replaces holds connections of sites that did not change: a WebSocket or an
        # answer that may be silent for the read timeout must not be cut for another site's sake.
        longest_s = (max(site.proxying.read_timeout_s, site.drain_timeout_s) for site in sites)
        patience_s = f"{max(longest_s, default=0) + 5:.0f}"
        main = self._shipped.get_template("main.conf.j2").render(patience_s=patience_s)
        files = {f"sites/{name}.conf": text for name, text in sorted(own.items())}
        shared = {
            "shares": sorted({share for site in sites for share in site.steps}),
            "sessions": any(site.session_timeout_s for site in sites),
            "https": any(f"listen {self._place.edge.https_port} ssl;" in text for text in own.values()),
            "cleartext_http2": any(site.proxying.protocol is Protocol.GRPC for site in sites),
            "generation": "",
            "conf_dir": "",
        }
        http = self._rendered("http.conf.j2", **shared)
        content = [main, http, *(f"{name}\0{text}" for name, text in files.items())]
        generation = hashlib.sha256("\0".join(content).encode()).hexdigest()[:GENERATION_CHARS]
        shared |= {"generation": generation, "conf_dir": f"{self._place.conf_dir}/{generation}"}
        http = self._rendered("http.conf.j2", **shared)
        return Rendered(generation, {"main.conf": main, "http.conf": http, **files})

    def _rendered(self, template: str, **values: Any) -> str:
        try:
            return self._environment.get_template(template).render(values)
        except Exception as error:  # own templates may raise anything
            raise _render_error(template, error) from error


class RenderError(Exception):
    """A mistake in a template: which one, where and why, in a line."""


def _render_error(template: str, error: Exception) -> RenderError:
    line = f" line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
    said = str(error).replace("\n", " ") or type(error).__name__
    return RenderError(f"{template}{line}: {said}")


def _whole_lines(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def render(
    sites: Sequence[Site],
    place: Place | None = None,
    certificates: Mapping[str, Certificate] | None = None,
) -> Rendered:
    renderer = Renderer(place or Place())
    own = {site.name: renderer.site(site, servers(site, certificates or {})) for site in sites}
    return renderer.assemble(sites, own)


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
