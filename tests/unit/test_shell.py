"""What users are told to type works in the shell that they are in."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from accel_yolo.shell import from_here, program


def test_the_program_is_the_command_where_there_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = tmp_path / "accel-yolo"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "accel-yolo"


def test_without_the_command_it_is_the_interpreter_that_runs_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = [*shlex.split(program()), "--version"]
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": root})
    assert done.stdout.startswith("accel-yolo ") and Path(asked[0]).absolute() == Path(sys.executable)


def test_the_interpreter_of_a_folder_is_typed_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert program() == ".venv/bin/python -m accel_yolo"


def test_paths_below_the_current_folder_are_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert from_here(tmp_path / "runs" / "exp") == Path("runs/exp")
    assert from_here(Path("runs/exp")) == Path("runs/exp")
    assert from_here(tmp_path.parent) == tmp_path.parent
