"""Whatever is killed, hangs or is asked to stop, under any launcher: it is named, nothing is left, the run goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from launched import LAUNCHERS, training
from watched import train_words

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.signals import SAME_WITHIN_S

HOST = socket.gethostname()
KILLED = "error: process {} was killed by SIGKILL (out of memory?)"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc, and only Linux ends orphans"),
]


def words(data: Path, folder: Path, *more: str) -> list[str]:
    return [*train_words(data, folder), "--workers", "1", *more]


@pytest.mark.parametrize("fault", ["forward:1:6:kill", "save manifest:0:8:kill,validation:0:8:5"])
def test_a_killed_process_is_named_with_its_place(fault: str, sparse_data: Path, tmp_path: Path) -> None:
    rank = int(fault.split(":")[1])
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path), tmp_path, ACCEL_YOLO_FAIL=fault) as run:
        assert run.ends() == 5
        assert "Traceback" not in run.log
        error = KILLED.format(rank)
        assert run.errors == [error]
        details = run.log.split(error)[1].strip("\n").splitlines()
    names = [line.split()[0] for line in details]
    assert names[:2] == ["process", "place"] and {"remedy", "checkpoint", "to"} < set(names), details
    assert details[0].startswith(f"  process     {rank} of 2, pid ") and details[0].endswith(f"machine 0 ({HOST})")
    if rank == 1:
        assert details[1] == "  place       the forward pass, step 6", "exactly, though it had no time to say so"
    assert f"  to go on    start it as before, with --resume {run.run}" in details
    assert f"  more in     {run.run / 'failure.json'}" in details
    assert (run.failure["message"], run.failure["rank"]) == (error.removeprefix("error: "), rank)
    assert run.failure["checkpoint"].startswith("step 4, ")
    assert CheckpointFolder(run.run / "checkpoints").newest_valid() is not None
    assert not list(run.run.glob("stacks-*")), "nobody hung"
    assert not (run.run / ".run.lock").exists(), "the launcher removes what a killed process leaves"


def test_a_process_that_leaves_too_early_is_named(sparse_data: Path, tmp_path: Path) -> None:
    fault = "forward:1:2:exit0"
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path), tmp_path, ACCEL_YOLO_FAIL=fault) as run:
        assert run.ends() == 5
        assert run.errors == ["error: process 1 left with exit code 0 before the run was done"]
        assert "  place       the forward pass, step 2" in run.log


@pytest.mark.parametrize("launcher", ["ours", "torchrun", "accelerate, one process"])
def test_what_a_killed_launcher_leaves_saves_and_ends(launcher: str, sparse_data: Path, tmp_path: Path) -> None:
    with training(LAUNCHERS[launcher], words(sparse_data, tmp_path, "--epochs", "900"), tmp_path) as run:
        run.until_checkpoint()
        assert len(run.processes()) > 2
        before = len(list(run.run.glob("checkpoints/step-*")))
        run.launcher.kill()
        assert run.ends() == -signal.SIGKILL
    assert before and CheckpointFolder(run.run / "checkpoints").newest_valid() is not None
    assert not (run.run / ".run.lock").exists()


def test_a_process_that_hangs_does_not_outlive_its_launcher(sparse_data: Path, tmp_path: Path) -> None:
    """It is asked to save and to end, and cannot."""
    fault = "forward:1:6:hang"
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path), tmp_path, ACCEL_YOLO_FAIL=fault) as run:
        run.until_checkpoint()
        time.sleep(1)  # it is on its way there; where it is killed makes no difference
        run.launcher.kill()
        assert run.ends() == -signal.SIGKILL


@pytest.mark.parametrize("launcher", ["ours", "accelerate", "torchrun"])
def test_a_hang_is_named_under_every_launcher(launcher: str, sparse_data: Path, tmp_path: Path) -> None:
    flags = words(sparse_data, tmp_path, "--collective-timeout", "5")
    with training(LAUNCHERS[launcher], flags, tmp_path, ACCEL_YOLO_FAIL="data:1:4:hang") as run:
        run.until(lambda: run.errors)
        assert run.ends(10) == (5 if launcher == "ours" else 1)
        (line,) = run.errors
    assert line.startswith(f"error: process 1 on machine 0 ({HOST}) hangs in data loading since step 4, "), line
    found = re.search(r"since step 4, (\d+) s", line)
    assert found is not None and int(found[1]) <= 5 + 5, line
    assert run.log.count(f"  process     1 of 2, pid {run.failure['pid']} on machine 0 ({HOST})\n") == 1
    assert (run.failure["exit_code"], run.failure["rank"], run.failure["phase"]) == (5, 1, "data")
    assert "in _happen" in (run.run / "stacks-1.txt").read_text()


@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_a_signal_to_another_launcher_saves_and_is_kept_in_the_run(
    launcher: str, sparse_data: Path, tmp_path: Path
) -> None:
    with training(LAUNCHERS[launcher], words(sparse_data, tmp_path, "--epochs", "900"), tmp_path) as run:
        run.until_checkpoint()
        run.launcher.terminate()
        assert run.ends(30) != 0
        (line,) = run.errors
    assert line.startswith("error: stopped by SIGTERM in epoch ")
    assert run.failure["exit_code"] == 75
    step = max(int(path.name.split("-")[1]) for path in run.run.glob("checkpoints/step-*"))
    assert run.failure["step"] == step, "saved where it stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_one_process_stops_all_in_order(number: int, sparse_data: Path, tmp_path: Path) -> None:
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path, "--epochs", "900"), tmp_path) as run:
        run.until_checkpoint()
        os.kill(run.training_process(1), number)
        begun = time.monotonic()
        assert run.ends(20) == 75
        assert time.monotonic() - begun < 10
        (line,) = run.errors
    assert line.startswith(f"error: stopped by {signal.Signals(number).name} in epoch ")


def test_a_second_signal_ends_a_run_that_does_not_save_in_time(sparse_data: Path, tmp_path: Path) -> None:
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path), tmp_path, ACCEL_YOLO_FAIL="saving:0:*:100") as run:
        run.until(lambda: (run.run / "log.txt").exists() and "epochs of" in run.log)
        run.launcher.terminate()
        time.sleep(2 * SAME_WITHIN_S)
        assert run.launcher.poll() is None, "it waits for the checkpoint"
        run.launcher.terminate()
        assert run.ends(10) == 128 + signal.SIGTERM
        (line,) = run.errors
    assert line == "error: ended at once by a second SIGTERM; --resume takes its newest whole checkpoint"


def test_stacks_are_written_on_demand(sparse_data: Path, tmp_path: Path) -> None:
    with training(LAUNCHERS["ours"], words(sparse_data, tmp_path, "--epochs", "900"), tmp_path) as run:
        run.until_checkpoint()
        os.kill(run.training_process(1), signal.SIGUSR2)
        run.until(lambda: "most recent call first" in (run.run / "stacks-1.txt").read_text(), 10)
        run.launcher.terminate()
        assert run.ends(20) == 75
    assert [path.name for path in run.run.glob("stacks-*")] == ["stacks-1.txt"], "an empty one is removed"
