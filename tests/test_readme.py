"""What README.md tells people to type is accepted. Nothing is executed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.cli import cli, options
from gateway.settings import parse

README = Path(__file__).parent.parent / "README.md"
SERVICE_KEYS = {"image", "ports", "environment", "volumes", "restart"}  # of Compose, as far as we use it


def blocks(language: str, text: str) -> list[str]:
    """The fenced blocks of a language; "" for those without one."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [body for named, body in found if named == language]


def typed(text: str) -> list[str]:
    """The lines after a prompt."""
    lines = [line for block in blocks("console", text) for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def gateway_arguments(line: str) -> list[str] | None:
    """The arguments of `gateway`, on a host or through `docker compose exec`; None: another command."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words[:4] == ["docker", "compose", "exec", "gateway"]:
        words = words[4:]
    return words[1:] if words and Path(words[0]).name == "gateway" else None


def refusal(arguments: list[str]) -> str:
    """Why click would not run it; empty when it would."""
    try:
        root = click.Context(cli, info_name="gateway")
        name, verb, rest = cli.resolve_command(root, arguments)
        assert name is not None and verb is not None
        context = verb.make_context(name, rest, parent=root)
        for option in ("images", "values"):
            options.pairs(option, context.params.get(option, ()))
    except click.ClickException as error:
        return error.format_message()
    return ""


def commands() -> list[str]:
    return [line for line in typed(README.read_text()) if gateway_arguments(line) is not None]


def tree(text: str) -> dict[str, object]:
    """A mapping of the plain YAML that a short compose file is written in. Raises ValueError."""
    root: dict[str, object] = {}
    levels: list[tuple[int, object]] = [(-1, root)]
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        indent = len(line) - len(line.lstrip())
        while levels[-1][0] >= indent:
            levels.pop()
        parent = levels[-1][1]
        if line.lstrip().startswith("- "):
            if not isinstance(parent, list):
                raise ValueError(f"an item without a list: {line!r}")
            parent.append(line.lstrip()[2:].strip())
            continue
        key, colon, value = line.strip().partition(":")
        if not colon or "\t" in line or not isinstance(parent, dict) or key in parent:
            raise ValueError(f"not a key of its own: {line!r}")
        child: object = value.strip()
        if not child:
            child = [] if following.lstrip().startswith("- ") else {}
            levels.append((indent, child))
        elif value[0] != " ":
            raise ValueError(f"no blank after the colon: {line!r}")
        parent[key] = child
    return root


@pytest.fixture(scope="module")
def compose_file() -> str:
    (text,) = blocks("yaml", README.read_text())
    return text


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_readme_is_one_that_the_command_line_takes(line: str) -> None:
    arguments = gateway_arguments(line)
    assert arguments is not None
    assert refusal(arguments) == ""


@pytest.mark.parametrize(
    "line",
    [
        "gateway deploi shop",
        "gateway deploy",
        "gateway deploy shop --imagine app=shop:2",
        "gateway deploy shop --image shop:2",
        "gateway rollback shop r41",
        "docker compose exec gateway gateway deploy shop --timeout soon",
        "GATEWAY_CONTAINER=x .venv/bin/gateway statuses",
    ],
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    arguments = gateway_arguments(line)
    assert arguments is not None
    assert refusal(arguments) != ""


def test_every_verb_is_shown_in_the_readme() -> None:
    shown = {arguments[0] for line in commands() if (arguments := gateway_arguments(line))}
    assert shown == set(cli.commands)


def test_every_script_in_the_readme_exists() -> None:
    scripts = [shlex.split(line)[0] for line in typed(README.read_text()) if line.startswith("scripts/")]
    assert scripts
    assert [name for name in scripts if not (README.parent / name).is_file()] == []


def test_every_page_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []


def test_the_compose_file_has_at_most_25_lines(compose_file: str) -> None:
    assert len(compose_file.splitlines()) <= 25


def test_the_compose_file_is_one_gateway_with_keys_that_compose_knows(compose_file: str) -> None:
    model = tree(compose_file)
    assert set(model) == {"services", "volumes"}
    services = model["services"]
    assert isinstance(services, dict) and set(services) == {"gateway"}
    assert set(services["gateway"]) <= SERVICE_KEYS
    named = [line.split(":")[0] for line in services["gateway"]["volumes"] if line[0] not in "./"]
    assert model["volumes"] == {name: {} for name in named}


def test_the_compose_file_s_variables_are_accepted(compose_file: str) -> None:
    services = tree(compose_file)["services"]
    assert isinstance(services, dict)
    (site,) = parse(services["gateway"]["environment"]).sites
    assert site.stack_file == "/stacks/stack.yaml"
    assert f"gateway deploy {site.name}" in README.read_text()


def test_the_example_of_several_sites_is_accepted() -> None:
    (text,) = [block for block in blocks("", README.read_text()) if block.startswith("GATEWAY_SITES")]
    settings = parse(dict(line.split("=", 1) for line in text.splitlines()))
    assert [site.stack_file for site in settings.sites] == ["/stacks/shop.yaml", "/stacks/blog.yaml"]


@pytest.mark.parametrize("number", range(2))
def test_adopting_it_changes_at_most_three_lines_of_a_user_s_file(number: int) -> None:
    diffs = blocks("diff", README.read_text())
    assert len(diffs) == 2
    assert 1 <= len(list(changed(diffs[number]))) <= 3


def changed(diff: str) -> Iterator[str]:
    return (line for line in diff.splitlines() if line[:1] in "+-")
