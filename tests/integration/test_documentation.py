"""Every block of every page runs, is read, or has a reason why it is not; here in this process, on little data."""

from __future__ import annotations

import ast
import doctest
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from desk import Desk, small
from documentation import (
    BLOCKS,
    DESK,
    FOREIGN_FLAGS,
    KINDS,
    LIVE,
    NOT_RUN,
    NOT_RUN_HERE,
    PAGES,
    PROCESSES,
    PYTHON_NOT_RUN,
    ROOT,
    SHELL,
    Block,
    commands_of,
    key_of,
    ours_in,
    prose_of,
    way_of,
)

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.download import read_download
from accel_yolo.config.flags import COMMANDS, parse
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.errors import DataError

IN_OTHER_MODULES = {PROCESSES: "test_guide.py", LIVE: "test_prediction_page.py"}
AS_DOCTEST = "docs/python.md"
"""The page whose Python is a session; test_python_docs.py runs it."""

SLOW_PAGES = (
    "README.md",
    "docs/data.md",
    "docs/evaluation.md",
    "docs/export.md",
    "docs/prediction.md",
    "docs/python.md",
    "docs/report.md",
    "docs/training.md",
    "docs/tuning.md",
)
"""Pages that take longer than ten seconds."""


def _first_shown() -> dict[frozenset[tuple[str, ...]], str]:
    """Return quick form of a command -> the block that shows it first, which is where it runs."""
    found: dict[frozenset[tuple[str, ...]], str] = {}
    for block in BLOCKS:
        for command in block.commands:
            if way_of(command) == DESK:
                found.setdefault(key_of(small(command)), block.place)
    return found


FIRST_SHOWN = _first_shown()


def runs_here(block: Block) -> bool:
    if block.kind == "python":
        return block.page != AS_DOCTEST or ">>>" not in block.text
    return any(way_of(command) in (DESK, SHELL) for command in block.commands)


RUN_HERE = list(dict.fromkeys(block.page for block in BLOCKS if runs_here(block)))


@pytest.fixture
def desk(
    tmp_path: Path, reference_dir: Path, published_weights: Path, sparse_data: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """An empty folder to type in, with the data sets of a user beside it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):  # what is shown needs one
        monkeypatch.delenv(screen, raising=False)
    monkeypatch.setenv("ACCEL_YOLO_DATASETS_DIR", str(folder / "datasets"))
    images = sorted((reference_dir / "data" / "coco128" / "images").iterdir())
    desk = Desk(folder, images, published_weights, sparse_data)
    desk.lay("datasets")
    desk.keep_release(tmp_path / "cache")
    monkeypatch.setenv("ACCEL_YOLO_CACHE", str(tmp_path / "cache"))
    yield desk


def test_every_block_says_what_it_is() -> None:
    assert len(BLOCKS) > 100
    for block in BLOCKS:
        assert block.kind in KINDS, f"{block.place}: ```{block.kind}; give one of {', '.join(KINDS)}"


def test_no_reason_for_not_running_is_left_over() -> None:
    commands = set(commands_of())
    assert not set(NOT_RUN) - commands, "no page shows them any more"
    first_lines = {block.text.splitlines()[0] for block in BLOCKS if block.kind == "python"}
    assert not set(PYTHON_NOT_RUN) - first_lines, "no page shows them any more"


def test_every_flag_and_command_that_a_text_mentions_exists() -> None:
    known = {spelling for entry in COMMANDS.values() for flag in entry.flags for spelling in flag.spellings}
    mentioned: set[str] = set()
    for page in PAGES:
        text = prose_of(page)
        flags = set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", text))
        assert flags <= known | set(FOREIGN_FLAGS), f"{page.name}: {flags - known - set(FOREIGN_FLAGS)}"
        mentioned |= flags
        for code in re.findall(r"`((?:accel-yolo|python \w+\.py) [^`\n]+)`", text):
            if "..." in code or "<" in code or "--help" in code:
                continue
            for name, words in ours_in(code):
                assert name in COMMANDS or name in ("data", "info", "help", "detect"), f"{page.name}: {code}"
                spellings = {each for flag in COMMANDS[name].flags for each in flag.spellings} if words else set()
                assert {word for word in words if word.startswith("--")} <= spellings, f"{page.name}: {code}"
    assert set(FOREIGN_FLAGS) <= mentioned, "no page mentions them any more"


@pytest.mark.parametrize("command", dict.fromkeys(commands_of()), ids=str)
def test_a_command_runs_or_has_a_reason_and_its_flags_exist(command: str) -> None:
    way = way_of(command)
    if way == DESK:
        assert ours_in(command), "neither a command of ours nor one with a reason in tests/documentation.py"
    if way in IN_OTHER_MODULES:
        module = (ROOT / "tests" / "integration" / IN_OTHER_MODULES[way]).read_text()
        assert "documentation" in module and way.upper() in module
    for name, words in ours_in(command):
        assert name in COMMANDS, name
        assert parse(name, [re.sub(r"\$\w+", "1", word) for word in words]).command == name
    if way == NOT_RUN_HERE and command.startswith("python benchmarks/"):
        program = ROOT / command.split()[1]
        text = "".join(file.read_text() for file in program.parent.glob("*.py"))
        assert all(f'"{flag}"' in text for flag in re.findall(r"--[\w-]+", command)), program
    if command.startswith("make "):
        assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text()
    for extra in re.findall(r"accel-yolo\[(\w+)\]", command):
        assert f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    for file in re.findall(r"\bdocs/[\w./-]+", command):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW_PAGES else []) for page in RUN_HERE]
)
def test_what_a_page_shows_runs(page: str, desk: Desk) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in (block for block in BLOCKS if block.page == page):
        if block.kind == "python":
            _run_python(block, desk, names)
        for command in block.commands:
            way = way_of(command)
            if way == SHELL or (way == DESK and FIRST_SHOWN[key_of(small(command))] == block.place):
                desk.run(command)


def _run_python(block: Block, desk: Desk, names: dict[str, Any]) -> None:
    """Run a block; one that begins with the name of a file is that file."""
    first = block.text.splitlines()[0]
    ast.parse(block.text) if ">>>" not in block.text else doctest.DocTestParser().get_examples(block.text)
    if first in PYTHON_NOT_RUN or (block.page == AS_DOCTEST and ">>>" in block.text):
        return
    named = re.fullmatch(r"# (\w+\.py)", first)
    if named:
        (desk.folder / named[1]).write_text(block.text)
        return
    text = block.text.replace("path/to/this/project", str(ROOT))
    desk.lay(text)
    exec(compile(text, block.place, "exec"), names)


def _is_data_yaml(content: Any) -> bool:
    return isinstance(content, dict) and {"train", "val"} <= set(content)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind in ("yaml", "json")], ids=lambda b: b.place)
def test_a_block_of_settings_is_read(block: Block, tmp_path: Path) -> None:
    if block.kind == "json":
        assert json.loads(block.text)
        return
    content = yaml.safe_load(block.text)
    assert content
    if _is_data_yaml(content):
        file = tmp_path / "data.yaml"
        file.write_text(block.text)
        _lay_data_set(tmp_path / content["path"], content)
        spec = load_data_spec(file)
        assert spec.names and spec.train and (spec.download is not None) == ("download" in content)
    elif "download" in content:
        file = tmp_path / "download.yaml"
        file.write_text(block.text)
        assert read_download(load_yaml(file, DataError, "the page"))


def _lay_data_set(root: Path, content: dict[str, Any]) -> None:
    """Make the places that a data YAML names, empty but for the classes."""
    for split in ("train", "val"):
        place = root / content[split]
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".json":
            place.write_text(json.dumps({"categories": [{"id": 1, "name": "cat"}], "images": [], "annotations": []}))
        elif place.suffix == ".txt":
            place.write_text("")
        else:
            place.mkdir(parents=True, exist_ok=True)
    (root / content.get("images", "images")).mkdir(exist_ok=True)
    if "ImageSets" in content["train"]:
        (root / "JPEGImages").mkdir()


@pytest.mark.parametrize("file", sorted((ROOT / "docs").rglob("*.sbatch")), ids=lambda file: file.name)
def test_a_batch_script_is_one_for_bash(file: Path) -> None:
    assert shutil.which("bash")
    done = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in file.read_text().replace("\\\n", "").splitlines():
        for name, words in ours_in(line.strip()) if line.strip().startswith("srun ") else ():
            assert parse(name, [re.sub(r"\$\w+", "1", word) for word in words]).command == name


@pytest.mark.parametrize("file", sorted((ROOT / "docs").rglob("*.y*ml")), ids=lambda file: file.name)
def test_a_yaml_file_beside_the_pages_is_one(file: Path) -> None:
    assert all(isinstance(each, dict) for each in yaml.safe_load_all(file.read_text()))


def test_both_languages_show_the_same_blocks() -> None:
    english, korean = (
        [(block.kind, block.text) for block in BLOCKS if block.page == f"docs/{name}"]
        for name in ("multi-gpu.md", "multi-gpu.ko.md")
    )
    assert english == korean and len(english) >= 15
