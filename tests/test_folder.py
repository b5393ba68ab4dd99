"""The config folder, read from a real one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.adapters.folder import LARGEST_BYTES, LARGEST_PAGE_BYTES, Folder, SiteFiles, merged, read_folder
from gateway.settings.places import SiteFile


def read(tmp_path: Path, files: dict[str, str | bytes]) -> Folder:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_folder(tmp_path)


def only_site(tmp_path: Path, content: str | bytes) -> SiteFile:
    (site,) = read(tmp_path, {"sites/shop.env": content}).files or ()
    return site


def test_a_missing_folder_is_empty(tmp_path: Path) -> None:
    assert read_folder(tmp_path / "none") == Folder()


def test_an_empty_folder_for_sites_is_something_else_than_none(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    assert read_folder(tmp_path).files == ()


def test_site_files_come_by_name_without_what_editors_leave(tmp_path: Path) -> None:
    names = ("b.env", "a.env", ".a.env.swp", ".c.env", "a.env~", "#a.env#", "README")
    found = read(tmp_path, {f"sites/{name}": "X=1" for name in names})
    assert [site.name for site in found.files or ()] == ["a", "b"]


def test_a_site_file_is_read_as_an_env_file_and_nothing_is_put_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/root")
    site = only_site(tmp_path, "# a comment\n\nexport A=1\nB='x y' # why\nC=\"${HOME} $HOME\"\nD=\n")
    assert site.values == {"A": "1", "B": "x y", "C": "${HOME} $HOME", "D": ""}
    assert site.problems == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("A=1\nnonsense here\n", "line 2: 'nonsense here' is not NAME=value"),
        ("A=1\nB\n", "line 2: 'B' is not NAME=value"),
        ("A=1\nA=2\n", "line 2: A is set twice"),
        (b"A=\xff", "is not UTF-8"),
        ("#" * (LARGEST_BYTES + 1), f"is larger than {LARGEST_BYTES} bytes"),
    ],
    ids=["no variable", "no value", "twice", "not text", "too large"],
)
def test_what_can_t_be_read_is_that_site_s_problem(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    assert problem in only_site(tmp_path, content).problems


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    os.mkfifo(tmp_path / "sites" / "shop.env")
    (site,) = read_folder(tmp_path).files or ()
    assert site.problems == ("is no file",)


def test_a_folder_where_a_file_should_be_is_told_and_stays_open_for_nobody(tmp_path: Path) -> None:
    (tmp_path / "sites" / "shop.env").mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        (site,) = read_folder(tmp_path).files or ()
        assert site.problems == ("is no file",)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_the_editor_ends_them(tmp_path: Path, end: str) -> None:
    assert only_site(tmp_path, f"A=1{end}B=2{end}".encode()).values == {"A": "1", "B": "2"}
    snippets = read(tmp_path, {"snippets/a.conf": f"x;{end}y;{end}".encode()}).snippets
    assert snippets["a"].text == "x;\ny;\n"


def test_a_snippet_is_text_or_a_template_but_not_both(tmp_path: Path) -> None:
    found = read(tmp_path, {"snippets/a.conf": "x;", "snippets/b.conf.j2": "y;", "snippets/c.conf": ""})
    assert [(s.text, s.is_template) for s in found.snippets.values()] == [
        ("x;", False),
        ("", False),
        ("y;", True),
    ]
    both = read(tmp_path, {"snippets/a.conf.j2": "x;"}).snippets["a"]
    assert "only one of them may be" in both.problem


def test_own_templates_are_read_with_it(tmp_path: Path) -> None:
    found = read(tmp_path, {"templates/site.conf.j2": "{{ site.name }}", "templates/http.conf.j2": b"\xff"})
    assert found.templates == {"site.conf.j2": "{{ site.name }}"}
    assert found.problems == ("templates/http.conf.j2: is not UTF-8",)


def test_the_environment_wins_over_the_env_file_unless_it_is_empty(tmp_path: Path) -> None:
    found = read(tmp_path, {".env": "A=file\nB=file\nC=file\n"})
    assert merged(found.variables, {"A": "env", "B": ""}) == {"A": "env", "B": "file", "C": "file"}


def test_what_is_known_of_a_file_is_used_while_its_text_stays(tmp_path: Path) -> None:
    known = SiteFiles()
    (tmp_path / "sites").mkdir()
    found = []
    for content in ("A=1", "A=2", "A=2"):
        (tmp_path / "sites" / "shop.env").write_text(content)
        (site,) = read_folder(tmp_path, known=known).files or ()
        assert site.values == {"A": content[-1]}
        found.append(site)
    assert found[1] is found[2]
    (tmp_path / "sites" / "shop.env").rename(tmp_path / "sites" / "blog.env")
    read_folder(tmp_path, known=known)
    assert list(known) == ["blog"]


def test_a_maintenance_page_is_for_one_site_or_for_all_others(tmp_path: Path) -> None:
    pages = read(tmp_path, {"maintenance.html": "all", "maintenance/shop.html": "{{ $x }}"}).pages
    assert [pages.of(site) for site in ("shop", "blog")] == ["{{ $x }}", "all"]
    assert read(tmp_path / "none", {}).pages.of("shop") is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff", "is not UTF-8"),
        ("#" * (LARGEST_PAGE_BYTES + 1), f"is larger than {LARGEST_PAGE_BYTES} bytes"),
    ],
)
def test_a_page_that_can_t_be_used_is_told_and_there_is_none(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    found = read(tmp_path, {"maintenance.html": content, "maintenance/shop.html": content})
    assert set(found.pages.problems) == {f"maintenance.html: {problem}", f"maintenance/shop.html: {problem}"}
    assert found.problems == ()
    assert found.pages.of("shop") is None
