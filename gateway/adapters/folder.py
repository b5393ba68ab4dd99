"""The config folder, read as one snapshot: .env, site files, snippets, own templates, maintenance pages."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from stat import S_ISREG

from dotenv.parser import parse_stream

from gateway.settings.places import SiteFile

LARGEST_BYTES = 1 << 20
LARGEST_PAGE_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Snippet:
    """`snippets/<site>.conf`, or `.conf.j2`, which is a template. `problem`: why it can't be used."""

    text: str = ""
    is_template: bool = False
    problem: str = ""

    def file(self, site: str) -> str:
        """Where it lies in the folder."""
        return f"snippets/{site}.conf{'.j2' if self.is_template else ''}"


@dataclass(frozen=True, slots=True)
class Pages:
    """What visitors get while a site is closed, by site; "" is for all others. `problems`: unusable files."""

    texts: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def of(self, site: str) -> str | None:
        return self.texts.get(site, self.texts.get(""))


@dataclass(frozen=True, slots=True)
class Folder:
    """`files` None: there is no sites/. `problems` are those of .env and the templates."""

    variables: Mapping[str, str] = field(default_factory=dict)
    files: tuple[SiteFile, ...] | None = None
    snippets: Mapping[str, Snippet] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    pages: Pages = field(default_factory=Pages)


class SiteFiles(dict[str, tuple[str, SiteFile]]):
    """By site, its file's text when it was last read, and what that says: the very same while it stays."""


def read_folder(path: Path, *, env_file: Path | None = None, known: SiteFiles | None = None) -> Folder:
    """What lies there now; a folder that is missing is empty. `known`: brought up to date."""
    env_file = env_file or path / ".env"
    variables, problems = _variables(env_file) if env_file.exists() else ({}, [])
    problems = [f"{env_file.name}: {problem}" for problem in problems]
    templates = {}
    for file in _files(path / "templates", ".j2"):
        try:
            templates[file] = _text(f"{path}/templates/{file}")
        except ValueError as error:
            problems.append(f"templates/{file}: {error}")
    return Folder(
        variables,
        tuple(_site_files(path / "sites", SiteFiles() if known is None else known))
        if (path / "sites").is_dir()
        else None,
        _snippets(path / "snippets"),
        templates,
        tuple(problems),
        _pages(path),
    )


def stamps(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells whether any file of a folder is another than before, without reading them."""
    found = []
    for file in sorted(path.glob("*")):
        try:
            stat = file.stat()
        except OSError:
            continue
        found.append((file.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def merged(variables: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment wins, unless it is empty there, which counts as unset."""
    return dict(variables) | {name: raw for name, raw in environ.items() if raw or name not in variables}


def _site_files(path: Path, known: SiteFiles) -> Iterator[SiteFile]:
    read = SiteFiles()
    for file in _files(path, ".env"):
        name = file.removesuffix(".env")
        try:
            text = _text(f"{path}/{file}")
        except ValueError as error:
            yield SiteFile(name, {}, (str(error),))
            continue
        before = known.get(name)
        if before is None or before[0] != text:
            values, problems = _parsed(text)
            before = text, SiteFile(name, values, tuple(problems))
        read[name] = before
        yield before[1]
    known.clear()
    known.update(read)


def _snippets(path: Path) -> dict[str, Snippet]:
    found: dict[str, Snippet] = {}
    for suffix in (".conf", ".conf.j2"):
        for file in _files(path, suffix):
            name = file.removesuffix(suffix)
            try:
                snippet = Snippet(_text(f"{path}/{file}"), is_template=suffix == ".conf.j2")
            except ValueError as error:
                snippet = Snippet(problem=f"snippets/{file}: {error}")
            if name in found:
                snippet = Snippet(problem=f"snippets/{name}.conf and {name}.conf.j2: only one of them may be")
            found[name] = snippet
    return found


def _pages(path: Path) -> Pages:
    """`maintenance.html`, and one for a site: `maintenance/<site>.html`."""
    texts, problems = {}, []
    named = {f.removesuffix(".html"): f"maintenance/{f}" for f in _files(path / "maintenance", ".html")}
    if (path / "maintenance.html").exists():
        named[""] = "maintenance.html"
    for site, file in named.items():
        try:
            texts[site] = _text(f"{path}/{file}", LARGEST_PAGE_BYTES)
        except ValueError as error:
            problems.append(f"{file}: {error}")
    return Pages(texts, tuple(problems))


def _files(path: Path, suffix: str) -> list[str]:
    """Their names; without hidden ones, which editors and mounts leave."""
    if not path.is_dir():
        return []
    found = (entry.name for entry in os.scandir(path))
    return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))


def _text(file: str, largest: int = LARGEST_BYTES) -> str:
    """Raises ValueError with why it can't be read."""
    try:
        # `open` asks the system twice as much, for thousands of files. And it would wait for a pipe's writer.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            content = _content(descriptor, largest)
        finally:
            os.close(descriptor)
        # Line ends as in a file that is opened as text.
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from error


def _content(descriptor: int, largest: int) -> bytes:
    stat = os.fstat(descriptor)
    if not S_ISREG(stat.st_mode):
        raise ValueError("is no file")
    if stat.st_size > largest:
        raise ValueError(f"is larger than {largest} bytes")
    content = b""
    while more := os.read(descriptor, stat.st_size + 1):
        content += more
    return content


def _variables(file: Path) -> tuple[dict[str, str], list[str]]:
    """KEY=VALUE lines. What refers to other variables ($NAME) is left as it stands."""
    try:
        text = _text(str(file))
    except ValueError as error:
        return {}, [str(error)]
    return _parsed(text)


def _parsed(text: str) -> tuple[dict[str, str], list[str]]:
    found: dict[str, str] = {}
    problems = []
    for binding in parse_stream(StringIO(text)):
        line = binding.original.string.strip()
        if binding.error or (binding.key and binding.value is None):
            problems.append(f"line {binding.original.line}: {line[:80]!r} is not NAME=value")
        elif binding.key:
            if binding.key in found:
                problems.append(f"line {binding.original.line}: {binding.key} is set twice")
            found[binding.key] = binding.value or ""
    return found, problems
