"""What would go live, without making it so: for people, on any machine."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters import nginx_test
from gateway.adapters.certificates import CertificateFiles
from gateway.adapters.configuration import ConfigurationFiles, GoodFiles
from gateway.adapters.folder import read_folder
from gateway.adapters.observed import make_log
from gateway.adapters.render import RenderError
from gateway.agent.composing import composed
from gateway.agent.reconcile import environment_of
from gateway.agent.texts import SiteTexts
from gateway.agent.trial import Unusable, tested
from gateway.core.roster import Roster, Standing
from gateway.errors import SettingsInvalid, UsageError
from gateway.paths import CONF_DIR
from gateway.settings.parsing import at_start

# Of the command line, not of the gateway.
_NOT_OURS = ("GATEWAY_CONTAINER",)


@dataclass(frozen=True, slots=True)
class Found:
    """`files`: relative path -> text. `nginx`: whether its own test passed; None: there is no nginx here."""

    files: Mapping[str, str]
    generation: str
    problems: tuple[tuple[str | None, str], ...]  # (site, reason)
    nginx: bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """What is looked at. `env_file` None: `.env` in the folder. `state_dir`: where last goods are kept."""

    environ: Mapping[str, str]
    config_dir: Path
    env_file: Path | None = None
    state_dir: str | None = None


def place(environ: Mapping[str, str], config_dir: str | None, env_file: str | None) -> Place:
    """Raises UsageError when a path that was given is not there."""
    ours = {name: raw for name, raw in environment_of(environ).items() if name not in _NOT_OURS}
    folder = Path(config_dir or at_start(ours).config_dir)
    if config_dir and not folder.is_dir():
        raise UsageError(f"--config-dir {config_dir}: there is no such folder")
    if env_file and not Path(env_file).is_file():
        raise UsageError(f"--env-file {env_file}: there is no such file")
    return Place(ours, folder, Path(env_file) if env_file else None, at_start(ours).state_dir)


def look(place: Place, *, with_nginx: bool, with_last_good: bool = False) -> Found:
    """Everything that would go live and everything that is wrong with it."""
    good = GoodFiles(place.state_dir).all() if with_last_good and place.state_dir else {}
    folder = read_folder(place.config_dir, env_file=place.env_file)
    nginx = None
    try:
        if with_nginx and nginx_test.is_there():
            with tempfile.TemporaryDirectory(prefix="gateway-check-") as scratch:
                Path(scratch).chmod(0o755)  # it is another user who tests
                make_log(f"{scratch}/observed.log")
                candidate = composed(SiteTexts(), folder, place.environ, good, scratch=scratch)
                files = ConfigurationFiles(f"{scratch}/conf")
                tested(candidate, files, CertificateFiles(f"{scratch}/tls"), trusted=None)
            nginx = not any(r.startswith("nginx: ") for _, r in _problems(candidate.roster()))
        else:
            candidate = composed(SiteTexts(), folder, place.environ, good)
        rendered = candidate.rendered()
    except SettingsInvalid as error:
        return Found({}, "", tuple((None, problem) for problem in error.problems), None)
    except (Unusable, RenderError) as error:
        return Found({}, "", ((None, str(error)),), False if isinstance(error, Unusable) else None)
    return Found(rendered.files, rendered.generation, tuple(_problems(candidate.roster())), nginx)


def _problems(roster: Roster) -> Iterator[tuple[str | None, str]]:
    yield from ((None, problem) for problem in roster.problems)
    for name, entry in roster.entries.items():
        if entry.standing is not Standing.DROPPED:
            yield from ((name, reason) for reason in entry.reasons)


def difference(found: Found) -> list[str]:
    """A unified diff from what is live here to what was found. Raises UsageError where nothing is live."""
    live = ConfigurationFiles().live()
    if live is None:
        raise UsageError(f"nothing is live here ({CONF_DIR}/live): run it in the gateway's container")
    folder = Path(CONF_DIR) / live
    before = {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}
    lines: list[str] = []
    for name in sorted(before.keys() | found.files.keys()):
        # The generation's own name is no change.
        old = before.get(name, "").replace(live, "GENERATION").splitlines(keepends=True)
        new = found.files.get(name, "").replace(found.generation, "GENERATION").splitlines(keepends=True)
        lines += difflib.unified_diff(old, new, f"live/{name}", f"new/{name}")
    return [line.rstrip("\n") for line in lines]


def write(files: Found, folder: Path) -> None:
    """Raises UsageError when something lies there already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--output {folder}: something lies there already")
    for name, text in files.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
