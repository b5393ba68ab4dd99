"""Each site's own file: rendered, read back, and remembered for as long as nothing of it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gateway.adapters.certificates import CertificateFolder, by_domain
from gateway.adapters.folder import Snippet
from gateway.adapters.render import Place, Renderer, RenderError, frame_of
from gateway.core.model import Site
from gateway.core.parseback import differences
from gateway.core.servers import Server, servers
from gateway.core.serving import Certificate
from gateway.core.snippet import refusals
from gateway.settings.sources import Known


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

    def of(self, site: Site) -> tuple[Server, ...]:
        """The servers that the site has with them."""
        found = self.folder.of(site)
        self.problems |= {f"{one.domain}: {one.problem}" for one in found if one.problem}
        usable = by_domain(found)
        self.used |= set(usable.values())
        return servers(site, usable)


class SiteTexts:
    """Each site's own file, rendered and read back. What has not changed is not done again."""

    def __init__(self) -> None:
        self._made_for: tuple[Place, Mapping[str, str]] | None = None
        # By site: what was made, and for what. To compare with it is cheaper than to hash a site.
        self._known: dict[str, list[tuple[Any, str | Mistake]]] = {}
        self.files = Known()

    def renderer(self, place: Place, templates: Mapping[str, str]) -> Renderer:
        if self._made_for != (place, templates):
            self._made_for, self._known = (place, dict(templates)), {}
            self._renderer = Renderer(place, templates)
            self._frame = frame_of(place)
        return self._renderer

    def snippet(self, site: Site, snippet: Snippet) -> str:
        """What is to stand in the site's servers. Raises Mistake."""
        return self._once((site, snippet), lambda: self._snippet(site, snippet))

    def text(self, site: Site, servers: tuple[Server, ...], snippet: str, *, own_page: bool) -> str:
        """The site's file. Raises Mistake."""
        key = (site, servers, snippet, own_page)
        return self._once(key, lambda: self._text(site, servers, snippet, own_page=own_page))

    def forget_all_but(self, sites: Iterable[Site]) -> None:
        before, self._known = self._known, {}
        for site in sites:
            self._known[site.name] = [
                (key, made) for key, made in before.get(site.name, ()) if key[0] == site
            ]

    def _once(self, key: Any, make: Callable[[], str]) -> str:
        known = self._known.setdefault(key[0].name, [])
        found = next((made for one, made in known if one == key), None)
        if found is None:
            try:
                found = make()
            except RenderError as error:
                found = Mistake(str(error))
            except Mistake as mistake:
                found = mistake
            known.append((key, found))
        if isinstance(found, Mistake):
            raise found
        return found

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
