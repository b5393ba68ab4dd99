"""What holds for every configuration: refused by the name of a variable, or served as it says.

The product's own parser is not the only judge. A site is rendered a second time with a harmless mark in place
of each of its texts. The two files must be equal but for the marks, and whatever replaced one must be of
characters that mean nothing to nginx, wherever they stand. So nothing but words can come from a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.folder import Folder
from gateway.adapters.render import SHARED, Place, Renderer, RenderError, files_of
from gateway.agent.candidate import Candidate
from gateway.agent.composing import compose, place_of
from gateway.agent.texts import Certificates, SiteTexts
from gateway.core.model import Site
from gateway.core.parseback import halves
from gateway.core.roster import Standing
from gateway.core.servers import Server, Shared, servers
from gateway.core.serving import Certificate, DomainCertificate
from gateway.errors import SettingsInvalid
from gateway.settings.parsing import Settings, parse_site
from gateway.settings.sources import Desired, desire
from tests.fuzz.cases import Case
from tests.fuzz.statements import statements

# A word of these is one word to nginx, in quotes or out of them, and neither a variable nor a comment.
HARMLESS = re.compile(r"[A-Za-z0-9*:/][A-Za-z0-9_.:/@+*-]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
SPECIAL = re.compile(r"""[;{}$"'\\\s]""")
# What a snippet may not begin a statement with, whatever core.snippet says.
NEVER = re.compile(
    r"load_module|include|.*lua.*|listen|server|server_name|proxy_pass|ssl_.*|user|env|error_log"
)


class Escape(AssertionError):
    """Something got in, or was refused without a reason that helps."""


class _Held(CertificateFolder):
    """Certificates for the first so many names of a site."""

    def __init__(self, case: Case) -> None:
        super().__init__("/nowhere", now=0)
        self._case = case
        self._pair = Certificate("chain", "key", expires_at=0, expired=case.expired)

    def of(self, site: Site) -> tuple[DomainCertificate, ...]:
        held = (*site.domains, *(name for name, _ in site.redirects))[: self._case.certified]
        return tuple(DomainCertificate(name, self._pair) for name in held)


def accepted(case: Case) -> bool:
    """Whether all of it goes live. Raises Escape."""
    try:
        desired = desire(case.env, case.files)
    except SettingsInvalid as error:
        _told(error.problems, case.env)
        return False
    for name, refused in desired.refused.items():
        (values,) = [file.values for file in case.files or () if file.name == name]
        _told(refused.reasons, {**case.env, **values})
    _harmless(desired.settings)
    _as_written(case, desired)
    place = place_of(desired.settings)
    folder = Folder(snippets=case.snippets)
    try:
        candidate = compose(
            _texts(place), place, folder, desired, good={}, certificates=Certificates(_Held(case))
        )
        _rendered(candidate, desired, case, place)
    except RenderError as error:
        raise Escape(f"can't be rendered: {error}") from error
    entries = candidate.roster().entries
    for name in desired.wanted:
        entry = entries[name]
        kinds = (f"snippets/{name}.conf", "what was rendered can't be read back")
        mine = name in case.snippets and all(reason.startswith(kinds) for reason in entry.reasons)
        if entry.standing is not Standing.CURRENT and not mine:
            raise Escape(f"{name} was accepted, and what was rendered is not the site: {entry.reasons}")
    return all(entry.standing is Standing.CURRENT for entry in entries.values())


@lru_cache(maxsize=256)
def _texts(place: Place) -> SiteTexts:
    return SiteTexts()


@lru_cache(maxsize=256)
def _renderer(place: Place) -> Renderer:
    return Renderer(place)


def _told(problems: Iterable[str], given: Mapping[str, str]) -> None:
    """Each problem is one line that begins with a variable which was given, and its value or its lack."""
    for problem in problems:
        if not problem.isprintable():
            raise Escape(f"not one line: {problem!r}")
        if not any(_about(problem, name, raw) for name, raw in given.items()) and not _lacking(
            problem, given
        ):
            raise Escape(f"names no variable that was given: {problem!r}")


def _about(problem: str, name: str, raw: str) -> bool:
    shown = f"{name if name.isprintable() else repr(name)}="
    if not problem.startswith(shown):
        why = r"(: '.+' is the domain of |: '.+' is \S+'s(,|$)|: must be '.*' as for | is set twice)"
        return bool(re.match(re.escape(name) + why, problem))
    value = problem.removeprefix(shown)
    whole = repr(raw) if len(repr(raw)) <= 80 else repr(raw)[:77] + "..."
    rule = value.removeprefix(whole) if value.startswith(whole) else value.partition("' ")[2]
    return rule.strip().startswith(("must be ", "must not be ", "is not a known variable; the nearest is "))


def _lacking(problem: str, given: Mapping[str, str]) -> bool:
    if problem.startswith("no site is set: set GATEWAY_DOMAIN="):
        return not given.get("GATEWAY_SITES")
    lacks = (
        r"(\S+) is (?:not set|empty)(?:, but GATEWAY_SITES names \S+)?: must be |(\S+): must be .* as for "
    )
    found = re.match(lacks, problem)
    return bool(found and not given.get(found[1] or found[2]))


def _strings(value: Any) -> Iterator[str]:
    if is_dataclass(value):
        yield from (text for each in fields(value) for text in _strings(getattr(value, each.name)))
    elif isinstance(value, tuple):
        yield from (text for each in value for text in _strings(each))
    elif isinstance(value, str):
        yield value
    elif value is not None and type(value) not in (int, float, bool):
        raise Escape(f"{value!r} is neither text nor a number")


def _harmless(settings: Settings) -> None:
    """Also of what never comes to nginx: paths, names of Docker, what is asked of the application."""
    bodies = {site.probe.body for site in settings.sites}
    for text in _strings(settings):
        if CONTROL.search(text) or (text not in bodies and SPECIAL.search(text)):
            raise Escape(f"{text!r} is a setting")


def _as_written(case: Case, desired: Desired) -> None:
    """The model says what the variables say, and what is kept of a site makes the same site again."""
    for name, wanted in desired.wanted.items():
        site, said = wanted.site, wanted.variables
        domains = {one.strip().lower().removeprefix("www.") for one in said["DOMAIN"].split(",")}
        if {host.removeprefix("www.") for host in site.hosts} != domains:
            raise Escape(f"{name} has the hosts {site.hosts} for {said['DOMAIN']!r}")
        port = said["UPSTREAM"].partition(":")[2] or said.get("VIRTUAL_PORT")
        if (site.service, str(site.port)) != (said["UPSTREAM"].partition(":")[0], port):
            raise Escape(f"{name} leads to {site.service}:{site.port} for {said['UPSTREAM']!r}")
        if parse_site(name, said, {}).site != site:
            raise Escape(f"{name} would be another site after a restart")
        if said["DOMAIN"] not in {*case.env.values(), *_of_files(case)}:
            raise Escape(f"{said['DOMAIN']!r} was not given")


def _of_files(case: Case) -> Iterator[str]:
    return (raw for file in case.files or () for raw in file.values.values())


class _Marks:
    """Harmless texts that stand for others, and the way back."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self._paths: list[tuple[str, str]] = []  # what the templates get of a probe's

    def put(self, value: Any) -> Any:
        """The same with a mark for each text in it. The path of all paths is one to the templates too."""
        if isinstance(value, str) and value not in ("", "/") and not isinstance(value, Enum):
            end = ".y" if value.startswith("/") else "-y"
            return self.of.setdefault(value, f"mark-{len(self.of)}{end}")
        if isinstance(value, tuple):
            return tuple(self.put(each) for each in value)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(
                value, **{each.name: self.put(getattr(value, each.name)) for each in fields(value)}
            )
        return value

    def site(self, site: Site) -> Site:
        twin: Site = self.put(site)
        if not site.health_path:
            return replace(twin, probe=replace(twin.probe, path="/"))
        self._paths.append((site.health_path, f"/mark-of-probe-{len(self._paths)}.y"))
        return replace(twin, probe=replace(twin.probe, path=self._paths[-1][1]))

    def back(self, text: str) -> str:
        """In place of the marks, what they stand for. Raises Escape when that is not harmless."""
        for value, mark in (*self.of.items(), *self._paths):
            # As it is; in a variable's name; in a regular expression.
            for old, new in (("", ""), ("-", "_"), (".", r"\.")):
                spelled, put = (each.replace(old, new) if old else each for each in (mark, value))
                if spelled not in text:
                    continue
                if not HARMLESS.fullmatch(value):
                    raise Escape(f"{value!r} was rendered")
                text = text.replace(spelled, put)
        return text


def _rendered(candidate: Candidate, desired: Desired, case: Case, place: Place) -> None:
    rendered = candidate.rendered()
    files = dict(rendered.files)
    marks = _Marks()
    twin_place = replace(place, edge=marks.put(place.edge))
    renderer = _renderer(twin_place)
    texts: dict[str, str] = {}
    twins: list[Site] = []
    located: dict[Site, Site] = {}
    for name, entry in candidate.roster().entries.items():
        if entry.standing is Standing.LEFT_OUT:
            continue
        site = candidate.at(name)
        twin = marks.site(site)
        own = servers(twin, _pairs(site, case, marks))
        located[site] = twin
        if entry.site is None:
            texts[name] = renderer.unavailable(twin, own)
        else:
            twins.append(twin)
            snippet = candidate.good()[name].snippet
            texts[name] = renderer.site(twin, own, "mark_of_the_snippet\n" if snippet else "")
            _balanced(snippet)
            bare = marks.back(texts[name])
            texts[name] = bare.replace(
                "mark_of_the_snippet\n", snippet if snippet.endswith("\n") else snippet + "\n"
            )
            if snippet and statements(texts[name], depth=0) != statements(
                bare.replace("mark_of_the_snippet\n", ""), depth=0
            ):
                raise Escape(f"the snippet of {name} stands outside of its server")
        for file, part in zip(files_of(name), halves(marks.back(texts[name])), strict=True):
            _equal(files.pop(file, ""), part)
    together = [_twin_of(one, located, marks) for one in candidate.together()]
    ours = renderer.assemble(twins, texts, together)
    _equal(files.pop("main.conf"), marks.back(ours.files["main.conf"]))
    for file in ("http.conf", *([SHARED] if together else [])):
        _equal(files.pop(file), marks.back(ours.files[file]).replace(ours.generation, rendered.generation))
    if files:
        raise Escape(f"{sorted(files)} belong to nobody")


def _pairs(site: Site, case: Case, marks: _Marks) -> dict[str, Certificate]:
    return {marks.put(one.domain): one.certificate for one in _Held(case).of(site) if one.certificate}


def _twin_of(one: Shared, located: Mapping[Site, Site], marks: _Marks) -> Shared:
    answer = replace(one.server.answer, host=marks.put(one.server.answer.host))
    server = Server(marks.put(one.server.names), answer)
    return Shared(server, tuple(located[site] for site in one.sites))


def _equal(found: str, wanted: str) -> None:
    if found != wanted:
        pairs: Sequence[tuple[str, str]] = list(zip(found.splitlines(), wanted.splitlines(), strict=False))
        differing = [f"{one!r}, not {other!r}" for one, other in pairs if one != other]
        raise Escape(f"rendered: {differing[:1] or 'more or less lines'}")


def _balanced(snippet: str) -> None:
    """It ends the statements that it begins and no other, and says nothing that no site may."""
    try:
        said = statements(snippet)
    except ValueError as error:
        raise Escape(f"a snippet that nginx reads otherwise: {error}: {snippet!r}") from error
    for words in said:
        if NEVER.fullmatch(words[0]):
            raise Escape(f"a snippet says {words}")
