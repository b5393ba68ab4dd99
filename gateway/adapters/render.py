"""Sites -> nginx configuration, through templates/. The values were allow-listed by settings."""

from __future__ import annotations

import resource
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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

from gateway.adapters.bounded import Bounded, CallFailed, Ended
from gateway.adapters.own_text import OwnTexts, digest, pairs_in
from gateway.core.admission import LONGEST_PAUSE_S, RETRY_AFTER_S
from gateway.core.model import InFlight, Site
from gateway.core.parseback import INSIDE, Frame, shared_differences
from gateway.core.servers import Server, Shared, servers, shared
from gateway.core.serving import Certificate, Edge, Proxying
from gateway.paths import CONF_DIR, OBSERVED_LOG, ROUTING_DIR, RUN_DIR, TLS_DIR

PAGES = "pages"  # maintenance pages, a file a site
SHARED = "sites/_shared.conf"  # no site's name begins with _
DOCKER_DNS = "127.0.0.11"
GENERATION_CHARS = 12
UNNAMED = "@generation@"  # until all of it is rendered, in what belongs to all sites
OF_ALL = ("http.conf", SHARED)
# A pipe takes 4 KiB in one piece: lines of two workers never mix (man 7 pipe).
BUFFERED = "buffer=4k flush=1s"
DESCRIPTORS = 20480
# A slot takes 3 KiB of it, and a replica 1; what is not taken costs no memory.
UPSTREAMS_SIZE = "128m"
# nginx counts what is in flight and tells only whether it is fewer than a number in its configuration.
# A location takes 7 KiB in nginx's master, and nothing in its workers. Beyond COUNTED by a tenth more each.
FEWER_THAN = (
    *range(1, InFlight.COUNTED + 2),
    *(round(InFlight.COUNTED * 1.1**step) for step in range(1, 44)),
    65535,
)
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
    other_resolver: bool = False  # the operator's conf.d has one: ours then stands in each upstream


def frame_of(place: Place) -> Frame:
    return Frame(place.http_port, place.edge, place.tls_dir, place.routing_dir, place.conf_dir, place.run_dir)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The generation's name, which is a hash of its content, and its files: relative path -> text.

    `pairs`: the digests of the certificates that it names.
    """

    generation: str
    files: Mapping[str, str]
    pairs: frozenset[str] = frozenset()


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
        self._place, self._own = place, dict(own or {})
        shipped = FileSystemLoader(templates_dir())
        self._shipped = SandboxedEnvironment(
            loader=shipped,
            bytecode_cache=_COMPILED,
            auto_reload=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=False,  # nginx's configuration is not HTML; settings refuse every special character
        )
        place_values = {name: getattr(place, name) for name in place.__slots__}
        self._shipped.filters["milliseconds"] = lambda seconds: f"{round(seconds * 1000)}ms"
        self._shipped.globals |= {"inside": INSIDE} | place_values | _shared_by_all(place.edge)
        # What stands outside http {} can load modules: that is not for an own template.
        replaceable = {name: text for name, text in self._own.items() if name != "main.conf.j2"}
        self._environment = self._shipped.overlay(loader=ChoiceLoader([DictLoader(replaceable), shipped]))
        self._http = lru_cache(maxsize=16)(self._render_http)  # most changes are of one site alone
        self._own_texts = OwnTexts(place.edge.https_port)
        self._failed: dict[str, RenderError] = {}  # own templates that were ended: not waited for again

    def is_for(self, place: Place, own: Mapping[str, str]) -> bool:
        return (self._place, self._own) == (place, own)

    def site(
        self, site: Site, servers: Sequence[Server], snippet: str = "", *, own_page: bool = False
    ) -> str:
        """The site's own file. Raises RenderError on a template's mistake.

        `own_page`: its maintenance page is a file (PAGES).
        """
        values = {"snippet": _whole_lines(snippet), "own_page": own_page}
        return self._rendered("site.conf.j2", site=site, servers=servers, **values)

    def snippet(self, site: Site, text: str) -> str:
        """A snippet that is a template, with the site's values. Raises RenderError."""
        return self._apart("snippet_here", f"snippets/{site.name}.conf.j2", site, text)

    def snippet_here(self, name: str, site: Site, text: str) -> str:
        """In this process, however long it takes."""
        try:
            return self._shipped.from_string(text).render(site=site)
        except Exception as error:  # whatever an expression in it raised
            raise _render_error(name, error) from error

    def unavailable(self, site: Site, servers: Sequence[Server]) -> str:
        """The file of a site that can't be served: its domains answer 503."""
        return self._shipped.get_template("unavailable.conf.j2").render(site=site, servers=servers)

    def assemble(
        self,
        own: Mapping[str, tuple[str, Site | None]],
        together: Sequence[Shared] = (),
        pages: Mapping[str, str] | None = None,
    ) -> Rendered:
        """What sites share, and each one's own text. Raises RenderError.

        `own`: name -> text, and the site if it is served.
        `together`: the servers of those with a path. Their text is two files, of which these include one.
        `pages`: the maintenance pages of sites that have one.
        """
        texts = self._own_texts.of(own)
        needs = {own.needs for own in texts}
        patience_s = f"{max((one.patience_s for one in needs), default=0) + 5:.0f}"
        main = self._shipped.get_template("main.conf.j2").render(patience_s=patience_s)
        http = self._http(
            shares=tuple(sorted({share for one in needs for share in one.shares})),
            rolling=any(one.rolling for one in needs),
            sessions=any(one.sessions for one in needs),
            https=any(one.https for one in needs) or any(one.server.answer.certificate for one in together),
            cleartext_http2=any(one.cleartext_http2 for one in needs),
        )
        files = {"main.conf": main, "http.conf": http}
        if together:
            files[SHARED] = self._together(together)
        pairs = frozenset().union(*map(pairs_in, files.values()), *(own.pairs for own in texts))
        files |= {f"{PAGES}/{name}.html": page for name, page in sorted((pages or {}).items())}
        content = (part for file in files.items() for part in file)
        generation = digest((*content, *(own.digest for own in texts)))[:GENERATION_CHARS]
        files |= {name: files[name].replace(UNNAMED, generation) for name in OF_ALL if name in files}
        files.update(file for own in texts for file in own.files)
        return Rendered(generation, files, pairs)

    def _render_http(self, **shared: Any) -> str:
        return self._rendered("http.conf.j2", generation=UNNAMED, conf_dir=self._unnamed_dir, **shared)

    @property
    def _unnamed_dir(self) -> str:
        return f"{self._place.conf_dir}/{UNNAMED}"

    def _together(self, together: Sequence[Shared]) -> str:
        """Read back too: that a name leads to these sites, and to nothing else."""
        template = self._shipped.get_template("shared.conf.j2")
        text = template.render(together=together, conf_dir=self._unnamed_dir)
        frame = frame_of(self._place)
        if found := shared_differences(text, together, frame, self._unnamed_dir):
            raise RenderError("; ".join(found))
        return text

    def _rendered(self, template: str, **values: Any) -> str:
        if not self._own:
            return self.rendered_here(template, values)
        if template in self._failed:
            raise self._failed[template]
        return self._apart("rendered_here", template, values)

    def _apart(self, how: str, name: str, *args: Any) -> str:
        """What people wrote is rendered in another process: a loop without an end is theirs alone."""
        try:
            return _apart(self._place, self._own, how, name, *args)
        except Ended as error:
            failed = RenderError(f"{name} {error}")
            if how == "rendered_here":
                self._failed[name] = failed
            raise failed from None
        except CallFailed as error:
            raise RenderError(str(error)) from None

    def rendered_here(self, template: str, values: Mapping[str, Any]) -> str:
        """In this process, however long it takes."""
        try:
            text = self._environment.get_template(template).render(values)
            text.encode()  # "\ud800" in an own template
            return text
        except Exception as error:  # own templates may raise anything
            raise _render_error(template, error) from error


_apart = Bounded(f"{__name__}:render_apart")
_there: list[Renderer] = []  # in the child: the one of the last call


def render_apart(place: Place, own: Mapping[str, str], how: str, *args: Any) -> str:
    """In the child."""
    if not _there or not _there[0].is_for(place, own):
        _there[:] = [Renderer(place, own)]
    return str(getattr(_there[0], how)(*args))


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
    have = {site: servers(site, certificates or {}) for site in sites}
    own = {site.name: (renderer.site(site, own), site) for site, own in have.items()}
    return renderer.assemble(own, shared((s, o) for s, o in have.items() if s.path is not None))


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
        "longest_pause_s": LONGEST_PAUSE_S,
        "retry_after_s": RETRY_AFTER_S,
        "upstreams_size": UPSTREAMS_SIZE,
        "fewer_than": FEWER_THAN,
    }


def _descriptors() -> int:
    """Two for each of the image's worker_connections, and some for files; no more than we may ask for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return DESCRIPTORS if most == resource.RLIM_INFINITY else min(DESCRIPTORS, most)


def _curves() -> tuple[str, ...]:
    """Mozilla's guideline 6.0, as far as OpenSSL knows them: an unknown one would stop nginx."""
    hybrid = ("X25519MLKEM768",) if ssl.OPENSSL_VERSION_INFO >= (3, 5) else ()
    return (*hybrid, "X25519", "prime256v1", "secp384r1")
