"""The import rules of docs/architecture.md, and the size of what is in there."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST = 60  # lines of a function
SLOW = ("docker", "httpx", "jinja2", "watchdog", "starlette", "uvicorn", "requests", "prometheus_client")

# Who may import adapters, and why.
MAY_IMPORT_ADAPTERS = {
    "gateway.wiring": "the composition root",
    "gateway.daemon": "the composition root of each role",
    "gateway.agent.live": "the agent's composition root",
    "gateway.agent.reconcile": "one path through files and nginx, each with one adapter and no fake",
    "gateway.agent.member": "carries orders out through files, with one adapter and no fake",
    "gateway.agent.texts": "renders each site",
    "gateway.agent.composing": "reads certificates",
    "gateway.agent.candidate": "renders the whole",
    "gateway.agent.trial": "asks nginx's own test",
    "gateway.agent.offline": "renders for people, without a gateway",
    "gateway.agent.healthcheck": "asks nginx",
    "gateway.world": "the journal's type: there is one journal, so it has no port",
}
# Where a library may be imported; a prefix stands for everything below it.
HOMES = {
    "docker": ("gateway.adapters.",),
    "requests": ("gateway.adapters.",),
    "cattrs": ("gateway.wire",),
    "cryptography": ("gateway.adapters.certificates",),
    "jinja2": ("gateway.adapters.",),
    "watchdog": ("gateway.adapters.",),
    "sqlite3": ("gateway.adapters.",),
    "httpx": ("gateway.adapters.", "gateway.cli.client"),
    "click": ("gateway.cli",),
    "rich": ("gateway.cli",),
    "yaml": ("gateway.cli.export",),
    "dotenv": ("gateway.adapters.",),
    "starlette": ("gateway.api", "gateway.agent.api", "gateway.daemon"),
    "uvicorn": ("gateway.daemon",),
    "prometheus_client": ("gateway.metrics",),
}
READS_ENVIRONMENT = {
    "gateway.daemon": "the settings of agent and controller",
    "gateway.agent.prepare": "the agent's settings, before nginx starts",
    "gateway.adapters.compose_command": "passes PATH and the like on to `docker compose`",
    "gateway.cli.config": "what the gateway would be set to, here",
    "gateway.cli.connection": "GATEWAY_CONTAINER, on a host",
    "gateway.cli.terminal": "NO_COLOR",
}
# From the top down: a layer imports itself (without cycles) and those below it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("gateway.cli", "gateway.daemon"),
    ("gateway.agent",),
    ("gateway.wiring",),
    ("gateway.api",),
    ("gateway.views", "gateway.controller", "gateway.metrics"),
    ("gateway.runner",),
    ("gateway.perform", "gateway.diagnose"),
    ("gateway.jobs", "gateway.leaves", "gateway.scaling", "gateway.tolerance"),
    ("gateway.deploy", "gateway.world", "gateway.progress", "gateway.directory"),
    ("gateway.adapters",),
    ("gateway.ports", "gateway.settings", "gateway.wire"),
    (
        "gateway.core.history",
        "gateway.core.plan",
        "gateway.core.policy",
        "gateway.core.stack",
        "gateway.core.labels",
        "gateway.core.kubernetes",
        "gateway.core.swarm",
        "gateway.core.snippet",
    ),
    ("gateway.core.fleet", "gateway.core.rolling", "gateway.core.roster", "gateway.core.parseback"),
    ("gateway.core.servers",),
    ("gateway.core.transitions",),
    ("gateway.core.admission", "gateway.core.events", "gateway.core.syntax", "gateway.core.debounce"),
    ("gateway.core.model", "gateway.errors", "gateway.paths", "gateway.dial"),
    ("gateway.core.serving",),
)


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    def imports(self, *, late: bool = True) -> set[str]:
        """Full names, `from package import module` as package.module. `late`: those in functions too."""
        nodes = ast.walk(self.tree) if late else iter(self.tree.body)
        return {name for node in nodes for name in _imported(node)}


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they point"
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if is_module(full) else str(node.module)


def is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _load(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts).removesuffix(".__init__")
    return Module(name, path, ast.parse(path.read_text()))


@cache
def modules() -> tuple[Module, ...]:
    return tuple(_load(path) for path in sorted((ROOT / "gateway").rglob("*.py")))


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def layer(name: str) -> int:
    """The layer of a module: the most specific entry counts."""
    found = [(len(p), n) for n, prefixes in enumerate(LAYERS) for p in prefixes if within(name, p)]
    return max(found)[1]


def each_module(below: str = "gateway") -> pytest.MarkDecorator:
    packages = {"gateway", "gateway.core"}  # empty, and in no layer
    named = [m for m in modules() if within(m.name, below) and m.name not in packages]
    return pytest.mark.parametrize("module", named, ids=lambda module: module.name)


@each_module()
def test_imports_point_down_only(module: Module) -> None:
    ours = {name for name in module.imports() if within(name, "gateway") and name != module.name}
    assert {name for name in ours if layer(name) < layer(module.name)} == set()


@each_module("gateway.core")
def test_the_core_imports_the_standard_library_and_the_core_only(module: Module) -> None:
    foreign = {name for name in module.imports() if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not within(name, "gateway.core")} == set()


@each_module("gateway.core")
def test_the_core_has_no_clock_randomness_files_or_environment(module: Module) -> None:
    effects = {"os", "time", "datetime", "random", "secrets", "uuid", "pathlib", "subprocess", "socket", "io"}
    assert {name.split(".")[0] for name in module.imports()} & effects == set()


@each_module()
def test_a_library_is_imported_only_where_it_is_at_home(module: Module) -> None:
    used = {name.split(".")[0] for name in module.imports()} & HOMES.keys()
    strayed = {lib for lib in used if not any(within(module.name, home) for home in HOMES[lib])}
    assert strayed == set()


def test_every_dependency_has_a_home() -> None:
    used = {name.split(".")[0] for module in modules() for name in module.imports()}
    assert used - sys.stdlib_module_names - {"gateway"} <= HOMES.keys()


def test_adapters_are_imported_by_the_composition_root_and_named_exceptions_only() -> None:
    importing = {
        module.name
        for module in modules()
        if not within(module.name, "gateway.adapters")
        and any(within(name, "gateway.adapters") for name in module.imports())
    }
    assert importing == MAY_IMPORT_ADAPTERS.keys()


def test_world_takes_nothing_of_the_adapters_but_the_journal() -> None:
    (world,) = [module for module in modules() if module.name == "gateway.world"]
    taken = {name for name in world.imports() if within(name, "gateway.adapters")}
    assert taken == {"gateway.adapters.journal"}


def test_the_environment_is_read_in_the_named_places_only() -> None:
    readers = {
        module.name for module in modules() if any(_reads_environment(n) for n in ast.walk(module.tree))
    }
    assert readers == READS_ENVIRONMENT.keys()


def _reads_environment(node: ast.AST) -> bool:
    names = ("environ", "environb", "getenv")
    if isinstance(node, ast.Attribute):
        return node.attr in names and isinstance(node.value, ast.Name) and node.value.id == "os"
    return (
        isinstance(node, ast.ImportFrom) and node.module == "os" and any(a.name in names for a in node.names)
    )


def test_there_is_no_import_cycle() -> None:
    known = {module.name for module in modules()}
    graph = {module.name: (module.imports() & known) - {module.name} for module in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@each_module()
def test_no_function_is_longer_than_60_lines(module: Module) -> None:
    functions = [n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@each_module()
def test_names_say_what_a_thing_does(module: Module) -> None:
    assert module.path.stem not in ("util", "utils", "helpers", "misc", "common")
    classes = [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    assert [name for name in classes if name.endswith("Manager")] == []


def test_help_loads_none_of_the_slow_libraries() -> None:
    script = (
        "import sys; sys.argv = ['gateway', '--help']\n"
        "from gateway.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        f"slow = set({SLOW}) & sys.modules.keys()\n"
        "sys.exit(f'loaded: {sorted(slow)}' if slow else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage: gateway" in done.stdout
