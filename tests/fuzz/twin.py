"""What is rendered has the shape of what was set, and nothing more.

A site is rendered a second time with a harmless mark in place of each of its texts. The two files must be
equal but for the marks, and whatever replaced one must be of characters that mean nothing to nginx, wherever
they stand. So nothing but words can come from a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from gateway.adapters.own_text import files_of
from gateway.adapters.render import SHARED, Place, Renderer
from gateway.agent.candidate import Candidate
from gateway.core.model import Site, Strategy
from gateway.core.parseback import halves
from gateway.core.roster import Standing
from gateway.core.servers import Server, Shared, servers
from gateway.core.serving import Certificate, Protocol
from tests.fuzz.escape import Escape

# A word of these is one word to nginx, in quotes or out of them, and neither a variable nor a comment.
HARMLESS = re.compile(r"[A-Za-z0-9*:/][A-Za-z0-9_.:/@+*-]*")
SNIPPET, GENERATION = "mark_of_the_snippet\n", "mark_of_the_generation"
# As it is; in a variable's name; in a regular expression.
_SPELLED = (("", ""), ("-", "_"), (".", r"\."))


class _Marks:
    """Harmless texts that stand for others, and the way back."""

    def __init__(self, word: str = "mark") -> None:
        self._word = word
        # It begins with letters: what can begin with something optional is looked for ten times as long.
        self._found = re.compile(rf"{word}[-_]\d+(?:[-_.]|\\\.)y")
        self.of: dict[str, str] = {}
        self._spelled: dict[str, tuple[str, str]] = {}  # a spelling of a mark -> its text in that, its text

    def put(self, value: Any) -> Any:
        """The same with a mark for each text in it. The path of all paths is one to the templates too."""
        if isinstance(value, str):
            return value if value in ("", "/") or isinstance(value, Enum) else self._mark(value)
        if isinstance(value, tuple):
            return tuple(self.put(each) for each in value)
        if is_dataclass(value) and not isinstance(value, type):
            return type(value)(*(self.put(getattr(value, each.name)) for each in fields(value)))
        return value

    def _mark(self, value: str) -> str:
        if value not in self.of:
            name = f"{self._word}-{len(self.of)}"
            mark = f"/{name}.y" if value.startswith("/") else f"{name}-y"
            self.of[value] = mark
            for old, new in _SPELLED:
                spelled, put = (each.replace(old, new) if old else each for each in (mark, value))
                self._spelled.setdefault(spelled, (put, value))
        return self.of[value]

    def back(self, text: str) -> str:
        """In place of the marks, what they stand for. Raises Escape when that is not harmless."""
        return self._found.sub(self._meant, text)

    def _meant(self, found: re.Match[str]) -> str:
        """A mark with a slash stands for a text with one, which is in its place already."""
        slash = "/" if found.string.endswith("/", 0, found.start()) else ""
        slash = slash if slash + found[0] in self._spelled else ""
        put, value = self._spelled.get(slash + found[0], (found[0], "mark"))
        if not HARMLESS.fullmatch(value):
            raise Escape(f"{value!r} was rendered")
        return put.removeprefix(slash)


def same(candidate: Candidate, place: Place, certificates: Mapping[str, Mapping[str, Certificate]]) -> None:
    """Raises Escape. `certificates`: by site, by domain."""
    rendered = candidate.rendered()
    files = dict(rendered.files)
    edge = _Marks("edge")
    twin = replace(place, edge=edge.put(place.edge))
    listens = False  # for HTTPS, in a file of a site's own
    for name, entry in candidate.roster().entries.items():
        if entry.standing is Standing.LEFT_OUT:
            continue
        site = candidate.at(name)
        assert site is not None
        marks = _Marks()
        other = _marked(site, marks)
        own = servers(other, {marks.put(domain): pair for domain, pair in certificates[name].items()})
        listens |= site.path is None and any(server.answer.certificate for server in own)
        said = _snippet(candidate, name) if entry.site else None
        text = edge.back(marks.back(_text(twin, other, own, said is not None, bool(said))))
        for file, part in zip(files_of(name), halves(text.replace(SNIPPET, said or "")), strict=True):
            _equal(files.pop(file, ""), part)
    together = candidate.together()
    https = listens or any(one.server.answer.certificate for one in together)
    for file, text in _shared(twin, candidate.served(), together, https=https).items():
        _equal(files.pop(file), edge.back(text).replace(GENERATION, rendered.generation))
    if files:
        raise Escape(f"{sorted(files)} belong to nobody")


def _shared(
    twin: Place, served: Sequence[Site], together: Sequence[Shared], *, https: bool
) -> dict[str, str]:
    """What belongs to no site, worked out from them once more."""
    leaving_s = (one.drain_timeout_s + one.websocket_timeout_s for one in served)
    longest_s = max([*leaving_s, *(one.proxying.read_timeout_s for one in served)], default=0)
    texts = {"main.conf": _once(twin, "main.conf.j2", patience_s=f"{longest_s + 5:.0f}")}
    conf_dir = f"{twin.conf_dir}/{GENERATION}"
    texts["http.conf"] = _once(
        twin,
        "http.conf.j2",
        shares=tuple(sorted({share for one in served for share in _shares(one)})),
        sessions=any(one.session_timeout_s for one in served),
        rolling=any(one.strategy is Strategy.ROLLING for one in served),
        https=https,
        cleartext_http2=any(one.proxying.protocol is Protocol.GRPC for one in served),
        generation=GENERATION,
        conf_dir=conf_dir,
    )
    if together:
        marks = _Marks()
        twins = tuple(_twin_of(one, marks) for one in together)
        texts[SHARED] = marks.back(_once(twin, "shared.conf.j2", together=twins, conf_dir=conf_dir))
    return texts


def _shares(site: Site) -> Sequence[int]:
    """How much the candidate may get in between: of replicas, any share."""
    return range(1, 100) if site.strategy is Strategy.ROLLING else site.steps


def _twin_of(one: Shared, marks: _Marks) -> Shared:
    answer = replace(one.server.answer, host=marks.put(one.server.answer.host))
    return Shared(
        Server(marks.put(one.server.names), answer), tuple(_marked(site, marks) for site in one.sites)
    )


def _marked(site: Site, marks: _Marks) -> Site:
    """The templates get only what of a probe's path has a meaning to them."""
    twin: Site = marks.put(site)
    return replace(twin, probe=replace(twin.probe, path=marks.put(site.health_path) or "/"))


@lru_cache(maxsize=64)
def renderer(twin: Place) -> Renderer:
    return Renderer(twin)


@lru_cache(maxsize=1024)
def _once(twin: Place, template: str, **values: Any) -> str:
    return renderer(twin).rendered_here(template, values)


@lru_cache(maxsize=1024)
def _text(twin: Place, site: Site, own: tuple[Server, ...], is_served: bool, has_snippet: bool) -> str:  # noqa: FBT001 - a key
    if not is_served:
        return renderer(twin).unavailable(site, own)
    return renderer(twin).site(site, own, SNIPPET if has_snippet else "")


def _snippet(candidate: Candidate, name: str) -> str:
    """In whole lines."""
    said = candidate.good()[name].snippet
    return said if not said or said.endswith("\n") else said + "\n"


def _equal(found: str, wanted: str) -> None:
    if found != wanted:
        pairs = zip(found.splitlines(), wanted.splitlines(), strict=False)
        differing = [f"{one!r}, not {other!r}" for one, other in pairs if one != other]
        raise Escape(f"rendered: {differing[:1] or 'more or less lines'}")
