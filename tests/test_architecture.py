"""The house: which package may import which, no cycles, and sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "accel_yolo"
MODULES = sorted(PACKAGE.rglob("*.py"))
L0 = {
    "archives",
    "tar_stream",
    "bars",
    "boxes",
    "devices",
    "letterbox",
    "config",
    "errors",
    "files",
    "fetch",
    "console",
    "lifeline",
    "shell",
    "transfer",
    "version",
    "waypoints",
}
L1 = {"models", "losses", "data", "metrics"}
MAY_IMPORT = {
    **dict.fromkeys(L0, L0),
    **{name: L0 | {name} for name in L1},
    "reports": L0 | L1 | {"reports"},
    "inference": L0 | L1 | {"inference", "reports"},
    "export": L0 | L1 | {"inference", "reports", "export"},
    "engine": L0 | L1 | {"inference", "reports", "engine"},
    "completion": L0,
    "env_command": L0 | {"engine"},
    "data_commands": L0 | L1 | {"inference", "reports"},
    "info_commands": L0 | L1 | {"inference", "reports", "export"},
    "benchmark": L0 | L1 | {"inference", "reports", "engine", "export"},
    "commands": L0
    | L1
    | {
        "inference",
        "reports",
        "engine",
        "export",
        "data_commands",
        "info_commands",
        "benchmark",
        "completion",
        "env_command",
    },
    "cli": L0 | {"engine", "commands", "cli"},
    "__main__": {"cli"},
    # The package itself gives `load`, lazily.
    "__init__": L0 | {"inference"},
}
FORBIDDEN_NAMES = {"utils", "util", "misc", "common", "helpers", "helper"}
LINES, FUNCTION_LINES, NESTING, PARAMETERS = 300, 60, 4, 7
BRANCHES = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def house_of(path: Path) -> str:
    """Return the top-level part of the package that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_go_down(path: Path) -> None:
    allowed = MAY_IMPORT[house_of(path)]
    for dotted in imported(path):
        parts = dotted.split(".")
        is_ours = parts[0] == "accel_yolo" and len(parts) > 1
        if is_ours and ((PACKAGE / parts[1]).exists() or (PACKAGE / f"{parts[1]}.py").exists()):
            assert parts[1] in allowed, f"{name_of(path)} must not import {dotted}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_engine_knows_processes(path: Path) -> None:
    knows = any(
        name == "accelerate" or name.startswith(("accelerate.", "torch.distributed")) for name in imported(path)
    )
    assert not knows or house_of(path) == "engine"


def outside_of_type_checking(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a module, without what only type checkers read."""
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            left += ast.iter_child_nodes(node)


def test_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[dotted] = set()
        for node in outside_of_type_checking(ast.parse(path.read_text())):  # a cycle inside functions is one too
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[dotted] |= modules if node.module == PACKAGE.name else {node.module, *modules}
            elif isinstance(node, ast.Import):
                graph[dotted] |= {alias.name for alias in node.names}
    graph = {name: {other for other in others if other in graph} for name, others in graph.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join((*path, name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    assert not FORBIDDEN_NAMES & {path.stem, *path.relative_to(PACKAGE).parts[:-1]}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_are_short_flat_and_take_few_parameters(path: Path) -> None:
    for function in functions(path):
        place = f"{name_of(path)}:{function.lineno} {function.name}"
        assert (function.end_lineno or 0) - function.lineno + 1 <= FUNCTION_LINES, f"{place} is long"
        assert depth(function.body) <= NESTING, f"{place} is deeply nested"
        arguments = function.args
        named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        assert len([name for name in named if name not in ("self", "cls")]) <= PARAMETERS, f"{place} takes many"


def depth(body: list[ast.stmt]) -> int:
    """Return how deep loops, branches and blocks are nested; an `elif` counts like its `if`."""
    deepest = 0
    for node in body:
        if isinstance(node, BRANCHES):
            inner = list(node.body)
            for handler in getattr(node, "handlers", []):
                inner += handler.body
            inner += getattr(node, "finalbody", [])
            orelse = getattr(node, "orelse", [])
            is_elif = isinstance(node, ast.If) and len(orelse) == 1 and isinstance(orelse[0], ast.If)
            deepest = max(deepest, 1 + depth(inner), depth(orelse) if is_elif else 1 + depth(orelse) if orelse else 0)
    return deepest


def test_no_line_outside_the_engine_asks_for_its_rank() -> None:
    # The console and the device check of the command line read the launcher's variables before a world exists.
    allowed = {"console.py", "resolve.py"}
    for path in MODULES:
        if house_of(path) == "engine" or path.name in allowed:
            continue
        text = path.read_text()
        assert ".rank" not in text, name_of(path)
        assert not any(word in text for word in ('"RANK"', '"LOCAL_RANK"', '"WORLD_SIZE"')), name_of(path)


def test_every_package_is_in_the_wheel() -> None:
    listed = set(re.findall(r'^    "(accel_yolo[a-z_.]*)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    present = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert {name for name in listed if "_configs" not in name} == present


def test_importing_the_package_or_its_command_line_loads_no_heavy_library() -> None:
    program = (
        "import sys, accel_yolo, accel_yolo.cli, accel_yolo.config.resolve\n"
        "heavy = {'torch', 'numpy', 'cv2', 'accelerate', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
