"""nginx's configuration on disk: a directory a generation, and the symlink `live` to the one that counts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.adapters.render import Rendered
from gateway.paths import CONF_DIR

UNFINISHED = ".unfinished"


class ConfigurationFiles:
    """Only what has changed is written: a generation that is kept no more becomes the next one.

    To link and to remove the files of thousands of sites took longer than all else that is ours.
    """

    def __init__(self, conf_dir: str | Path = CONF_DIR) -> None:
        self._dir = Path(conf_dir)
        self._there: dict[str, Rendered] = {}  # those that this process wrote, the last one last
        self._spare: Rendered | None = None  # of them: nobody's any more

    def write(self, rendered: Rendered) -> Path:
        """Write the generation whole, without making it live; its folder.

        It has its name once it is whole. No file is ever changed: others may be linked to it.
        """
        folder, new = self._dir / rendered.generation, self._dir / UNFINISHED
        last = next(reversed(self._there.values()), None)
        for left in (folder, new):  # by a killed writer
            self._remove(left)
        same = self._taken_over(new)
        for parent in {name.rpartition("/")[0] for name in ("sites/any", *rendered.files)}:
            (new / parent).mkdir(parents=True, exist_ok=True)
        for name in same.keys() - rendered.files.keys():
            (new / name).unlink()
        for name, text in rendered.files.items():
            if same.get(name) != text:
                (new / name).unlink(missing_ok=True)
                if not (last and last.files.get(name) == text and self._linked(last, new, name)):
                    (new / name).write_text(text)
        new.rename(folder)
        self._there[rendered.generation] = rendered
        return folder

    def _taken_over(self, new: Path) -> Mapping[str, str]:
        """The spare one's files, which are the new one's now; none when there is none."""
        spare, self._spare = self._spare, None
        if spare is None or self._there.pop(spare.generation, None) is None:
            return {}
        (self._dir / spare.generation).rename(new)
        return spare.files

    def _linked(self, last: Rendered, new: Path, name: str) -> bool:
        try:
            os.link(f"{self._dir}/{last.generation}/{name}", f"{new}/{name}")
        except OSError:  # that generation has gone
            return False
        return True

    def _remove(self, folder: Path) -> None:
        self._there.pop(folder.name, None)
        shutil.rmtree(folder, ignore_errors=True)

    def live(self) -> str | None:
        """The generation that nginx reads at its next start or reload."""
        link = self._dir / "live"
        return link.readlink().name if link.is_symlink() else None

    def has(self, generation: str) -> bool:
        return (self._dir / generation / "http.conf").is_file()

    def show(self, generation: str) -> None:
        """Make it the one that nginx reads, in one rename."""
        link = self._dir / ".live.new"
        link.unlink(missing_ok=True)
        link.symlink_to(generation)
        link.replace(self._dir / "live")

    def forget_others(self, kept: str) -> None:
        """Nobody needs another generation than this one."""
        for folder in self._dir.iterdir():
            if folder.name == kept or folder.is_symlink():
                continue
            known = self._there.get(folder.name)
            if known and self._spare in (None, known):
                self._spare = known
            else:
                self._remove(folder)


@dataclass(frozen=True, slots=True)
class Good:
    """What nginx took for a site: the variables and the snippet that it was made of, and its file."""

    variables: Mapping[str, str]
    snippet: str
    text: str


class GoodFiles:
    """The last good configuration of each site; it outlives the container."""

    def __init__(self, state_dir: str | Path) -> None:
        self._dir = Path(state_dir) / "good"
        self._read: dict[str, Good] | None = None

    def all(self) -> Mapping[str, Good]:
        """Site -> what was good. What can't be read is left out: it is as if it had never been."""
        if self._read is None:
            found = {file.stem: _good(file) for file in sorted(self._dir.glob("[!.]*.json"))}
            self._read = {name: good for name, good in found.items() if good}
        return dict(self._read)

    def keep(self, good: Mapping[str, Good]) -> None:
        """Remember these, in place of what was remembered of the same sites."""
        known = self.all()
        for name, each in good.items():
            if (before := known.get(name)) is not each and before != each:
                self._write(name, each)
        self._read = {**known, **good}

    def forget(self, site: str) -> None:
        (self._dir / f"{site}.json").unlink(missing_ok=True)
        self._read = {name: good for name, good in self.all().items() if name != site}

    def _write(self, name: str, good: Good) -> None:
        self._dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._dir / f".{name}.new"
        new.write_text(json.dumps(asdict(good)))
        new.replace(self._dir / f"{name}.json")


def _good(file: Path) -> Good | None:
    try:
        stored = json.loads(file.read_text())
        variables = {str(name): str(raw) for name, raw in stored["variables"].items()}
        return Good(variables, str(stored["snippet"]), str(stored["text"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
