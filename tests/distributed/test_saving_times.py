"""When a run saves: by epochs, by time, and what it does when the disk is too slow for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from stops import STEPS, Ended, grain_config, trained

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine import saving
from accel_yolo.engine.checkpoint import CheckpointFolder

Run = Callable[..., list[Any]]


def trained_and_watched(config: TrainConfig, fail: str = "") -> tuple[Ended, list[str]]:
    """As `trained`, and return the names of the checkpoints that this process wrote, in their order."""
    names, original = [], CheckpointFolder.write

    def write(self: CheckpointFolder, name: str, groups: Any, state: Mapping[str, Any], source: str = "") -> Path:
        names.append(name)
        return original(self, name, groups, state, source)

    CheckpointFolder.write = write
    return trained(config, fail), names


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_second_epoch_is_saved_and_the_last(
    run_processes: Run, sparse_data: Path, tmp_path: Path, processes: int
) -> None:
    config = grain_config(sparse_data, tmp_path, save_every="2epochs")
    answers = run_processes(processes, trained_and_watched, config)
    assert [ended.code for ended, _ in answers] == [0] * processes
    saved = [f"step-{step:08d}{end}" for step in (2 * STEPS, 3 * STEPS) for end in ("", "-validated")]
    assert [names for _, names in answers] == [saved, *[[]] * (processes - 1)]


@pytest.mark.parametrize("processes", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_when_the_time_has_come_a_run_saves_in_mid_epoch(
    run_processes: Run, sparse_data: Path, tmp_path: Path, processes: int
) -> None:
    long = "forward:0:6:1"  # so that the time has come in the second epoch
    found = {}
    for save_every in ("1h", "0.5s"):
        config = grain_config(sparse_data, tmp_path, save_every=save_every)
        (ended, names), *_ = run_processes(processes, trained_and_watched, config, long)
        assert ended.code == 0
        found[save_every] = {int(name.split("-")[1]) for name in names}
    assert found["1h"] == {STEPS, 2 * STEPS, 3 * STEPS}, "the end of each epoch is saved"
    assert found["0.5s"] >= found["1h"] and found["0.5s"] & {6, 7, 8, 9}


def test_a_disk_that_is_too_slow_stops_all_processes_together(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = grain_config(sparse_data, tmp_path, save_every="1step")
    answers = run_processes(2, trained_impatiently, config, "save write ema:0:*:3")
    assert [ended.code for ended in answers] == [7, 7]
    what = f"the disk does not take the checkpoint within 0 s in {tmp_path}/exp/checkpoints; the earlier ones are"
    assert all(what in ended.line for ended in answers)


def trained_impatiently(config: TrainConfig, fail: str) -> Ended:
    saving.LONGEST_S = 0.3
    return trained(config, fail)
