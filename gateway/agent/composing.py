"""From what was read to a candidate that nginx has not seen yet."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from gateway.adapters.beside import sets_resolver
from gateway.adapters.certificates import CertificateFolder
from gateway.adapters.configuration import Good
from gateway.adapters.folder import Folder, Snippet, merged
from gateway.adapters.render import Place
from gateway.agent.candidate import Candidate
from gateway.agent.texts import Certificates, SiteTexts
from gateway.errors import SettingsInvalid
from gateway.settings import Settings
from gateway.settings.places import Claim
from gateway.settings.sources import Desired, Known, desire
from gateway.settings.table import AT_START, PATH_PREFIX

NO_SNIPPET = Snippet()


def read_desired(
    folder: Folder, environ: Mapping[str, str], good: Mapping[str, Good], known: Known
) -> Desired:
    """Raises SettingsInvalid with every problem of the environment and .env."""
    problems = list(folder.problems)
    for name in AT_START:
        if name in folder.variables:
            problems.append(f".env: {name} is read at the start: set it in the environment")

    def held(site: str) -> list[Claim]:
        return _places(good[site].variables) if site in good else []

    try:
        desired = desire(merged(folder.variables, environ), folder.files, held=held, known=known)
    except SettingsInvalid as error:
        raise SettingsInvalid([*problems, *error.problems]) from None
    if problems:
        raise SettingsInvalid(problems)
    return desired


def place_of(settings: Settings) -> Place:
    return Place(http_port=settings.http_port, edge=settings.edge, other_resolver=sets_resolver())


def composed(
    texts: SiteTexts,
    folder: Folder,
    environ: Mapping[str, str],
    good: Mapping[str, Good],
    *,
    scratch: str | None = None,
    certificates: CertificateFolder | None = None,
    waiting: Collection[str] = (),
) -> Candidate:
    """From what was read to a candidate that nginx has not seen yet. Raises SettingsInvalid.

    `certificates`: the look before. `scratch`: a folder for what nginx would find beside its
    configuration, where no gateway runs.
    """
    desired = read_desired(folder, environ, good, texts.files)
    look = CertificateFolder(desired.settings.certs_dir, now=time.time(), previous=certificates)
    place = place_of(desired.settings)
    if scratch:
        place = replace(
            place,
            conf_dir=f"{scratch}/conf",
            tls_dir=f"{scratch}/tls",
            observed_log=f"{scratch}/observed.log",
        )
    return compose(texts, place, folder, desired, good=good, certificates=Certificates(look), waiting=waiting)


def compose(
    texts: SiteTexts,
    place: Place,
    folder: Folder,
    desired: Desired,
    *,
    good: Mapping[str, Good],
    certificates: Certificates,
    waiting: Collection[str] = (),
) -> Candidate:
    """Everything but nginx's own word on it. `waiting`: sites with a deployment in progress."""
    renderer = texts.renderer(place, folder.templates)
    candidate = Candidate(texts, renderer, desired, good, certificates, folder.pages)
    for name, wanted in desired.wanted.items():
        candidate.add(wanted, folder.snippets.get(name, NO_SNIPPET))
    for name, refused in desired.refused.items():
        candidate.demote(name, *refused.reasons)
    candidate.problems = (*folder.pages.problems, *_nobodys(folder, desired))
    for name in _gone(desired, good):
        candidate.drop(name)
    for name in waiting:
        if name in good:
            candidate.hold(name)
    return candidate


def _nobodys(folder: Folder, desired: Desired) -> Iterator[str]:
    """Files of a site that there is not."""
    files = [(name, snippet.file(name)) for name, snippet in folder.snippets.items()]
    files += [(name, f"maintenance/{name}.html") for name in folder.pages.texts if name]
    for name, file in files:
        if name not in desired.wanted and name not in desired.refused:
            yield f"{file}: there is no site {name!r}"


def _gone(desired: Desired, good: Mapping[str, Good]) -> Iterator[str]:
    return (name for name in good if name not in desired.wanted and name not in desired.refused)


def _places(variables: Mapping[str, str]) -> list[Claim]:
    path = variables.get(PATH_PREFIX.name, "")
    path_of = PATH_PREFIX.rule.read(path) if PATH_PREFIX.rule.accepts(path) else None
    return [(domain.strip().lower(), path_of) for domain in variables.get("DOMAIN", "").split(",")]
