"""`gateway config` on a host: no Docker, no gateway, and nginx's own test only where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.settings_cases import INJECTION

COMMAND = (sys.executable, "-c", "from gateway.cli import main; main()", "config")


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    # The interpreter's own folder on the PATH only: neither docker nor nginx is there.
    clean = {"PATH": str(Path(sys.executable).parent), "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    return subprocess.run(
        [*COMMAND, *arguments], env=clean | (env or {}), capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sites").mkdir()
    (tmp_path / "snippets").mkdir()
    (tmp_path / "sites" / "shop.env").write_text("DOMAIN=shop.test\nUPSTREAM=app:8000\n")
    return tmp_path


def test_check_passes_and_says_that_nginx_s_own_test_was_left_out(folder: Path) -> None:
    done = run("check", "--config-dir", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 sites without a mistake; nginx's own test: left out: there is no nginx here\n"


def test_check_tells_every_problem_of_every_site(folder: Path) -> None:
    (folder / "sites" / "evil.env").write_text(f"DOMAIN='{INJECTION}'\nUPSTREAM=app:1\n")
    (folder / "snippets" / "shop.conf").write_text("load_module x;\nalias /etc/;\n")
    done = run("check", "--config-dir", str(folder))
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("gateway: evil: DOMAIN='a.test; location /pwn")
    assert lines[1].startswith("gateway: shop: snippets/shop.conf line 1: 'load_module' runs code")
    assert lines[2].startswith("gateway: shop: snippets/shop.conf line 2: 'alias' must name")


def test_check_tells_of_a_snippet_whose_site_there_is_not(folder: Path) -> None:
    (folder / "snippets" / "shpo.conf").write_text("gzip on;\n")
    done = run("check", "--config-dir", str(folder))
    assert (done.returncode, done.stderr) == (2, "gateway: snippets/shpo.conf: there is no site 'shpo'\n")


def test_check_as_json(folder: Path) -> None:
    (folder / "sites" / "blog.env").write_text("DOMAIN=blog.test\n")
    done = run("check", "--config-dir", str(folder), "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 2
    assert (told["ok"], told["nginx_test"]) == (False, "left out")
    assert [problem["site"] for problem in told["problems"]] == ["blog"]


def test_check_of_an_environment_with_a_mistake(folder: Path) -> None:
    (folder / "my.env").write_text("GATEWAY_KEEP_S=soon\nGATEWAY_STATE_DIR=/x\n")
    done = run("check", "--config-dir", str(folder), "--env-file", str(folder / "my.env"))
    assert done.returncode == 2
    assert "GATEWAY_KEEP_S='soon' must be" in done.stderr
    assert "GATEWAY_STATE_DIR is read at the start" in done.stderr


def test_the_command_line_s_own_variable_is_none_of_the_gateway_s(folder: Path) -> None:
    assert run("check", "--config-dir", str(folder), env={"GATEWAY_CONTAINER": "x"}).returncode == 0


def test_render_writes_what_nginx_would_run(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run("render", "--config-dir", str(folder), "--output", str(output))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "server_name shop.test;" in (output / "sites" / "shop.conf").read_text()
    assert {f.name for f in output.iterdir()} == {"main.conf", "http.conf", "sites"}


def test_render_prints_it_too(folder: Path) -> None:
    done = run("render", "--config-dir", str(folder))
    assert "# ==> sites/shop.conf <==\n" in done.stdout
    told = json.loads(run("render", "--config-dir", str(folder), "--json").stdout)
    assert f"generation {told['generation']}" in told["files"]["http.conf"]


def test_render_writes_over_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = run("render", "--config-dir", str(folder), "--output", str(folder))
    assert (done.returncode, sorted(folder.rglob("*"))) == (2, before)
    assert "something lies there already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("check", "--config-dir", "/no/such/folder"), "there is no such folder"),
        (("check", "--env-file", "/no/such/file"), "there is no such file"),
        (("check",), "no site is set"),
        (("diff",), "no site is set"),
    ],
)
def test_what_is_not_there_is_named(arguments: tuple[str, ...], why: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert why in done.stderr


def test_diff_says_where_it_works(folder: Path) -> None:
    done = run("diff", "--config-dir", str(folder))
    assert done.returncode == 2
    assert "run it in the gateway's container" in done.stderr
