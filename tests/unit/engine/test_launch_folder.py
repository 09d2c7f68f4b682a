"""The folder of a launch goes with its launcher, or when the next one comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from accel_yolo.engine.launch_folder import LOCK, PREFIX, launch_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such locks")


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), launch_folder() as folder:
        assert folder.is_dir()
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_that_of_a_killed_launcher_goes_when_the_next_one_comes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    program = (
        "import sys, fcntl; stream = open(sys.argv[1], 'w'); fcntl.flock(stream, fcntl.LOCK_EX)\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    left, foreign = tmp_path / f"{PREFIX}left", tmp_path / f"{PREFIX}of-an-earlier-version"
    foreign.mkdir()
    (left / "start-0").mkdir(parents=True)
    words = [sys.executable, "-c", program, str(left / LOCK)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None and launcher.stdout.readline() == "locked\n"
        with launch_folder() as first, launch_folder() as second:
            assert left.is_dir() and first.is_dir() and second.is_dir()
        launcher.kill()
    with launch_folder():
        assert not left.exists() and foreign.is_dir()
