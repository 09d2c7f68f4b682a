"""The folder of a trial: whether it can be resumed, and what its table says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.rows import COLUMNS
from accel_yolo.engine.search_trial import TrialFolder, asked_to_stop
from accel_yolo.engine.state import TrainState

ROOT = Path(__file__).resolve().parents[3]


def saved(folder: Path, name: str, state: TrainState) -> None:
    tensors = {"weight": torch.zeros(2)}
    groups = {"model": tensors, "ema": tensors, "optimizer": tensors}
    CheckpointFolder(folder / "checkpoints").write(name, groups, {"train": state.to_json()})


def test_without_a_whole_checkpoint_a_trial_begins_again(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path)
    assert trial.progress(epochs=3) == "new"
    (tmp_path / "config.yaml").write_text("")
    assert trial.progress(epochs=3) == "new"
    saved(tmp_path, "step-00000004", TrainState(epoch=1, step=4))
    assert trial.progress(epochs=3) == "resumable"
    (tmp_path / "checkpoints" / "step-00000004" / "model.safetensors").write_bytes(b"torn")
    assert trial.progress(epochs=3) == "new"


def test_a_trial_of_which_only_the_record_is_missing_is_not_trained_again(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    saved(tmp_path, "step-00000012", TrainState(phase="validate", epoch=2, step=12))
    assert TrialFolder(tmp_path).progress(epochs=3) == "resumable", "its last validation is due"
    saved(tmp_path, "step-00000012-validated", TrainState(epoch=3, step=12))
    assert TrialFolder(tmp_path).progress(epochs=3) == "finished"
    saved(tmp_path, "step-00000016-validated", TrainState(epoch=4, step=16, stopped=True))
    assert TrialFolder(tmp_path).progress(epochs=99) == "finished", "patience has run out"


def test_the_best_epoch_is_the_first_of_the_highest_fitness_and_unvalidated_ones_do_not_count(tmp_path: Path) -> None:
    assert TrialFolder(tmp_path).results == [] and TrialFolder(tmp_path).best is None
    lines = [",".join(name.rjust(20) for name in COLUMNS)]
    for epoch, (map50, map50_95) in enumerate([(float("nan"),) * 2, (0.5, 0.2), (0.1, 0.3), (0.1, 0.3)]):
        row = dict.fromkeys(COLUMNS, 0.25) | {
            "epoch": epoch, "metrics/mAP_0.5": map50, "metrics/mAP_0.5:0.95": map50_95,
        }  # fmt: skip
        lines.append(",".join(f"{row[name]:20.5g}" for name in COLUMNS))
    (tmp_path / "results.csv").write_text("\n".join(lines) + "\n")
    trial = TrialFolder(tmp_path)
    assert [result.epoch for result in trial.results] == [1, 2, 3]
    assert trial.best is not None and trial.best.epoch == 2
    assert trial.best.fitness == pytest.approx(0.1 * 0.1 + 0.9 * 0.3)


@pytest.mark.parametrize(
    ("code", "stopped"),
    [(-15, True), (143, True), (75, True), (130, True), (-9, False), (1, False), (6, False), (0, False)],
)
def test_being_asked_to_stop_is_no_failure(code: int, stopped: bool) -> None:
    assert bool(asked_to_stop(code)) == stopped


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_training_whose_worker_has_ended_before_it_began_does_not_begin() -> None:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "ACCEL_YOLO_SEARCHED_BY": str(2**22 + 1)}  # no process has it
    command = [sys.executable, "-m", "accel_yolo", "train", "--data", "nowhere"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
