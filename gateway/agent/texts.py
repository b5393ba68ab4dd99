"""Each site's own file: rendered, read back, and remembered for as long as nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from gateway.adapters.certificates import CertificateFolder, by_domain
from gateway.adapters.folder import Snippet
from gateway.adapters.render import Place, Renderer, RenderError, frame_of
from gateway.core.model import Site
from gateway.core.parseback import differences
from gateway.core.servers import Server, servers
from gateway.core.serving import Certificate
from gateway.core.snippet import refusals
from gateway.settings.sources import Known

T = TypeVar("T")


class Mistake(Exception):
    """Why a site's own file can't be made."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Certificates:
    """Those that lie in the folder now; what is found and what is wrong with it is remembered."""

    def __init__(self, folder: CertificateFolder) -> None:
        self.folder = folder
        self.used: set[Certificate] = set()
        self.problems: set[str] = set()

    def usable(self, site: Site) -> Mapping[str, Certificate]:
        """By domain."""
        if not (found := self.folder.of(site)):
            return {}
        self.problems |= {f"{one.domain}: {one.problem}" for one in found if one.problem}
        usable = by_domain(found)
        self.used |= set(usable.values())
        return usable

    def of(self, site: Site) -> tuple[Server, ...]:
        """The servers that the site has with them."""
        return servers(site, self.usable(site))


class SiteTexts:
    """Each site's own file, rendered and read back. What has not changed is not done again."""

    def __init__(self) -> None:
        self._made_for: tuple[Place, Mapping[str, str]] | None = None
        # By site: what was made, and for what. To compare with it is cheaper than to hash a site.
        self._known: dict[str, list[tuple[Any, Any]]] = {}
        self._before = self._known
        self.files = Known()

    def renderer(self, place: Place, templates: Mapping[str, str]) -> Renderer:
        """For the next candidate; what neither it nor the one before asks for is forgotten."""
        self._before, self._known = self._known, {}
        if self._made_for != (place, templates):
            self._made_for, self._before = (place, dict(templates)), {}
            self._renderer = Renderer(place, templates)
            self._frame = frame_of(place)
        return self._renderer

    def snippet(self, site: Site, snippet: Snippet) -> str:
        """What is to stand in the site's servers. Raises Mistake."""
        return self.once(site.name, (site, snippet), lambda: self._snippet(site, snippet))

    def text(self, site: Site, servers: tuple[Server, ...], snippet: str, *, own_page: bool) -> str:
        """The site's file. Raises Mistake."""
        key = (site, servers, snippet, own_page)
        return self.once(site.name, key, lambda: self._text(site, servers, snippet, own_page=own_page))

    def once(self, site: str, key: Any, make: Callable[[], T]) -> T:
        """What was made for an equal key, be it a Mistake, else what is made now. Raises Mistake."""
        known = self._known.setdefault(site, [])
        found = _of(known, key)
        if found is None:
            found = _of(self._before.get(site, ()), key) or (key, _made(make))
            known.append(found)
        if isinstance(found[1], Mistake):
            raise found[1]
        made: T = found[1]
        return made

    def _snippet(self, site: Site, snippet: Snippet) -> str:
        if snippet.problem:
            raise Mistake(snippet.problem)
        text = self._renderer.snippet(site, snippet.text) if snippet.is_template else snippet.text
        if found := refusals(text, in_location=site.path is not None):
            raise Mistake(*(f"{snippet.file(site.name)} {reason}" for reason in found))
        return text

    def _text(self, site: Site, servers: tuple[Server, ...], snippet: str, *, own_page: bool) -> str:
        text = self._renderer.site(site, servers, snippet, own_page=own_page)
        if found := differences(text, site, servers, self._frame, own_page=own_page):
            raise Mistake(*found)
        return text


def _of(known: Iterable[tuple[Any, Any]], key: Any) -> tuple[Any, Any] | None:
    for each in known:
        if each[0] == key:
            return each
    return None


def _made(make: Callable[[], T]) -> T | Mistake:
    try:
        return make()
    except RenderError as error:
        return Mistake(str(error))
    except Mistake as mistake:
        return mistake
