"""With which words a run that has failed is started again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from accel_yolo.engine.endings import SILENT, TOLD, Ending
from accel_yolo.engine.failures import Failure
from accel_yolo.engine.restarts import Restarts


def ending(kind: int = SILENT, code: int = 5) -> Ending:
    return Ending(kind, code, Failure(code, "process 1 was killed by SIGKILL", 1, "host", time.time()))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "exp" / "checkpoints" / "step-00000120-validated").mkdir(parents=True)
    return tmp_path / "exp"


def test_a_run_goes_on_from_its_own_checkpoints(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Restarts(3).words_after(ending(), run, has_begun=True) == ("--resume", str(run))
    assert "process 1 was killed by SIGKILL; restart 1 of 3, from step 120" in capsys.readouterr().err


def test_the_checkpoints_of_an_earlier_run_are_not_taken(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --exist-ok they are there until the new run begins; one killed before that must not continue the old one."""
    words = Restarts(3).words_after(ending(), run, has_begun=False)
    assert words == ("--project", str(run.parent), "--name", "exp", "--exist-ok")
    assert "restart 1 of 3, from the beginning" in capsys.readouterr().err


@pytest.mark.parametrize("code", [2, 3, 4, 6, 75, 130, 138, 143])
def test_what_would_end_again_or_was_wished_is_not_started_again(run: Path, code: int) -> None:
    assert Restarts(3).words_after(ending(TOLD, code), run, has_begun=True) is None
