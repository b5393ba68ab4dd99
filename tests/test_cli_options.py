"""What --set and --set-file say together."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gateway.cli import _report
from gateway.cli.options import chosen


def test_a_value_comes_from_a_file_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a=b\n\n")
    assert chosen(["A=1"], [f"TOKEN={tmp_path}/token"]) == {"A": "1", "TOKEN": "a=b\n"}


@pytest.mark.parametrize(
    ("values", "files", "why"),
    [
        ([], ["TOKEN=/nowhere/x"], "--set-file TOKEN=/nowhere/x: No such file"),
        ([], ["TOKEN"], "--set-file takes KEY=VALUE"),
        (["TOKEN=1"], ["TOKEN=/dev/null"], "TOKEN is given by --set and by --set-file"),
    ],
)
def test_a_mistake_names_the_option(values: list[str], files: list[str], why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        chosen(values, files)


def test_a_report_of_a_bug_holds_no_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    argv = [
        "gateway",
        "deploy",
        "shop",
        "--set",
        "A=se cret",
        "--set=B=secret",
        "--set-file",
        "C=/c",
        "--json",
    ]
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = Path(_report()).read_text()
    assert "gateway deploy shop --set A=... --set=B=... --set-file C=/c --json" in text
