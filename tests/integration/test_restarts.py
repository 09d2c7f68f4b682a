"""With --max-restarts, a run recovers from what a new start can mend: it ends with the bits of an undisturbed one."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from launched import LAUNCHERS, training
from warm_programs import run_program
from watched import train_words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


@pytest.fixture(scope="module")
def undisturbed(sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a run that nothing happens to, in one process that may be started again."""
    folder = tmp_path_factory.mktemp("undisturbed")
    flags = [*train_words(sparse_data, folder), "--max-restarts", "1"]
    with training([LAUNCHERS["ours"][0]], flags, folder) as run:
        assert run.ends() == 0, run.log
    return run.sha256


@pytest.mark.parametrize(
    ("faults", "origins"),
    [
        ("forward:1:6:kill", ["from step 4"]),
        # The second start validates slowly, so that the thread that saves gets there meanwhile.
        (
            "forward:0:2:kill,validation:0:8:5:1,save manifest:0:8:kill:1",
            ["from the beginning", "from step 4"],
        ),
        ("validation:1:*:exit0", ["from step 12"]),
        ("leaving:0:*:kill", ["from step 12"]),  # all is done, and the next start finds that out
    ],
)
def test_it_ends_with_the_bits_of_an_undisturbed_run(
    faults: str, origins: list[str], sparse_data: Path, tmp_path: Path, undisturbed: str
) -> None:
    flags = [*train_words(sparse_data, tmp_path), "--max-restarts", "3"]
    with training(LAUNCHERS["ours"], flags, tmp_path, ACCEL_YOLO_FAIL=faults) as run:
        assert run.ends() == 0, run.log
        told = [line for line in run.log.splitlines() if "; restart " in line]
        assert len(told) == len(origins) and not run.errors, run.log
        for number, (line, origin) in enumerate(zip(told, origins, strict=True), 1):
            assert line.endswith(f"; restart {number} of 3, {origin}"), line
    assert run.sha256 == undisturbed
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["exp"], "one run has one folder"
    assert not (run.run / "failure.json").exists() and not (run.run / ".run.lock").exists()


def test_an_earlier_run_in_the_folder_is_not_continued(sparse_data: Path, tmp_path: Path, undisturbed: str) -> None:
    """Killed when the folder is known and its checkpoints are still those of the earlier run."""
    flags = train_words(sparse_data, tmp_path)
    earlier = run_program(["train", *flags, "--epochs", "1", "--seed", "7"], tmp_path)
    assert earlier.returncode == 0, earlier.stderr
    (told := tmp_path / "told").mkdir()
    with training(LAUNCHERS["ours"], [*flags, "--exist-ok", "--max-restarts", "1"], tmp_path, TMPDIR=str(told)) as run:
        run.until(lambda: list(told.glob("accel-yolo-launch-*/start-0/run")))
        os.kill(run.training_process(1), signal.SIGKILL)
        assert run.ends() == 0, run.log
        assert "; restart 1 of 1, from the beginning" in run.log
    assert run.sha256 == undisturbed


def test_a_crash_loop_ends_with_the_common_cause(sparse_data: Path, tmp_path: Path) -> None:
    flags = [*train_words(sparse_data, tmp_path), "--max-restarts", "9"]
    with training([LAUNCHERS["ours"][0]], flags, tmp_path, ACCEL_YOLO_FAIL="forward:0:5:kill:*") as run:
        assert run.ends(200) == 5
        (line,) = run.errors
    cause = "error: process 0 was killed by SIGKILL (out of memory?)"
    assert line == f"{cause} (3 restarts have brought no checkpoint after step 4, each time for this reason)"
    assert run.log.count("; restart ") == 3


def test_what_no_start_can_mend_is_not_tried_again(sparse_data: Path, tmp_path: Path) -> None:
    flags = [*train_words(sparse_data, tmp_path), "--max-restarts", "9", "--micro-batch", "8", "--bn-group", "8"]
    with training(LAUNCHERS["ours"], flags, tmp_path) as run:
        assert run.ends() == 2
        assert len(run.errors) == 1 and "; restart " not in run.log


def test_a_wish_to_stop_is_not_a_failure(sparse_data: Path, tmp_path: Path) -> None:
    flags = [*train_words(sparse_data, tmp_path), "--max-restarts", "9", "--epochs", "900"]
    with training(LAUNCHERS["ours"], flags, tmp_path) as run:
        run.until_checkpoint()
        os.kill(run.training_process(1), signal.SIGTERM)
        assert run.ends(30) == 75
        assert "; restart " not in run.log
