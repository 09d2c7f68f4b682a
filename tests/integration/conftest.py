"""Fixtures of tests that type whole commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Commands, clean_process, make_data


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Commands]:
    """The command line in this process, started in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    cleaning = clean_process()
    next(cleaning)
    yield Commands(capfd, tmp_path / "runs")
    next(cleaning, None)


@pytest.fixture
def data(tmp_path: Path, commands: Commands) -> Path:
    """The data YAML of four small images; no command may change the data set."""
    path = make_data(tmp_path / "data")
    commands.guarded.append(path.parent)
    return path
