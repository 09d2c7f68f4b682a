"""A process is killed at any named point: the others are gone in a moment, and the run ends as one that was not."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from processes import run_until_gone
from stops import Ended, grain_config, leftovers, resumed, trained

from accel_yolo.engine.checkpoint_reading import verify

Run = Callable[..., list[Any]]

LOOP = [
    "data:{}:0", "agreement:{}:1", "forward:{}:2", "backward:{}:2", "exchange:{}:3", "update:{}:4", "average:{}:4",
    "validation:{}:5", "merging:{}:5", "data:{}:5", "agreement:{}:6", "forward:{}:7", "exchange:{}:7", "saving:{}:8",
    "update:{}:8", "average:{}:9", "saving:{}:10", "validation:{}:10", "merging:{}:10", "forward:{}:14",
]  # fmt: skip
"""Twenty moments of either process."""

SAVING = [
    "save copy", "save space", "save write model", "save write ema", "save write optimizer", "save write state",
    "save manifest", "save folder", "save rename", "save parent", "save link", "prune", "save weights last",
    "save weights best", "results",
]  # fmt: skip
"""Moments of the process that saves; most of them are its thread's."""

CASES = [point.format(rank) for rank in (0, 1) for point in LOOP] + [f"{point}:0:*" for point in SAVING]
FAST = ("forward:1:7", "save rename:0:*")


@pytest.mark.parametrize(
    "point", [point if point in FAST else pytest.param(point, marks=pytest.mark.slow) for point in CASES]
)
def test_killed_there_the_run_goes_on_exactly(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, point: str
) -> None:
    config, run = grain_config(sparse_data, tmp_path, save_every="2steps"), tmp_path / "exp"
    both = run_until_gone(2, trained, config, f"{point}:kill")
    killed = int(point.split(":")[1])
    assert both[killed].code == -signal.SIGKILL
    survivor = both[1 - killed]
    assert survivor.value.code == 5
    assert re.search(rf"process {killed} on machine 0 \(", survivor.value.line), survivor.value.line
    assert survivor.after_s < 3
    saved = survivor.value.saved
    assert all(verify(run / "checkpoints" / name) for name in saved)
    again = resumed(run) if saved else grain_config(sparse_data, tmp_path)
    (ended,) = run_processes(1, trained, again)
    assert ended.seen == whole.seen
    assert leftovers(run) == []
