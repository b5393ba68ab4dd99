"""Generations on disk: each whole and as it was rendered, whatever it was made of."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.configuration import ConfigurationFiles
from gateway.adapters.render import Rendered
from tests.simulation import Crash


def rendered(generation: str, **texts: str) -> Rendered:
    return Rendered(generation, {"http.conf": generation, **{f"sites/{n}.conf": t for n, t in texts.items()}})


def on_disk(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


def live(files: ConfigurationFiles, one: Rendered) -> Path:
    """Written, shown, and nobody needs another."""
    folder = files.write(one)
    files.show(one.generation)
    files.forget_others(one.generation)
    return folder


class Dying:
    """At the call of this number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def instead_of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Crash
            return call(*args, **named)

        return counted


SERIES = [
    rendered("g1", a="1", b="1", c="1"),
    rendered("g2", a="2", b="1", c="1"),
    rendered("g3", a="2", b="2", c="1"),  # of g1, in which a differs too
    rendered("g4", b="2", d="1"),
    rendered("g3", a="2", b="2", c="1"),  # the spare itself
    rendered("g5", a="1", b="1", c="1"),
]


def test_each_generation_is_whole_and_the_live_one_is_never_touched(tmp_path: Path) -> None:
    files = ConfigurationFiles(tmp_path)
    before = live(files, SERIES[0])
    for last, one in pairwise(SERIES):
        folder = files.write(one)
        assert on_disk(folder) == one.files
        assert on_disk(before) == last.files
        before = live(files, one)
        assert on_disk(tmp_path / "live") == one.files


def test_what_is_the_same_is_on_disk_once(tmp_path: Path) -> None:
    files = ConfigurationFiles(tmp_path)
    folders = [files.write(one) for one in SERIES[:3]]
    assert len({(folder / "sites/c.conf").stat().st_ino for folder in folders}) == 1
    assert len({(folder / "sites/a.conf").stat().st_ino for folder in folders}) == 2


def test_one_generation_that_is_kept_no_more_becomes_the_next_and_all_others_go(tmp_path: Path) -> None:
    files = ConfigurationFiles(tmp_path)
    live(files, SERIES[0])
    for refused in ("x1", "x2"):
        files.write(rendered(refused, a="!"))
    live(files, SERIES[1])
    assert sum(path.is_dir() and not path.is_symlink() for path in tmp_path.iterdir()) == 2
    (spare,) = (path for path in tmp_path.iterdir() if path.is_dir() and path.name not in ("g2", "live"))
    inode = spare.stat().st_ino
    assert live(files, SERIES[2]).stat().st_ino == inode


@pytest.mark.parametrize("at", range(11))
def test_a_writer_that_dies_leaves_no_generation_by_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Of two sites that changed, some files are written, some not; the next writer makes it whole."""
    files = ConfigurationFiles(tmp_path)
    for one in SERIES[:2]:
        live(files, one)
    dies = Dying(at)
    for how in ("unlink", "write_text", "mkdir", "rename"):
        monkeypatch.setattr(Path, how, dies.instead_of(getattr(Path, how)))
    with pytest.raises(Crash):
        files.write(SERIES[3])
    monkeypatch.undo()
    assert not (tmp_path / "g4").exists()
    assert on_disk(tmp_path / "live") == SERIES[1].files
    for writer in (files, ConfigurationFiles(tmp_path)):
        assert on_disk(live(writer, SERIES[3])) == SERIES[3].files
        assert sorted(path.name for path in tmp_path.iterdir()) in (["g2", "g4", "live"], ["g4", "live"])
