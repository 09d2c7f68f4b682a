"""`--batch -1`: all processes agree, memory that runs out while trying breaks nothing, and the batch trains."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs import interrupted_run, tiny_config

from accel_yolo import console
from accel_yolo.config.resolve import AUTOBATCH, COMMAND_LINE, load_config
from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine import autobatch
from accel_yolo.engine.train import train
from accel_yolo.errors import UserError

Run = Callable[..., list[Any]]
MB = 1 << 20


def loaded_bytes() -> int:
    """Return the address space of a process that has loaded what is needed to try a step."""
    program = "import accel_yolo.engine.probe_process, psutil; print(psutil.Process().memory_info().vms)"
    return int(subprocess.check_output([sys.executable, "-c", program]))


def watched(limits: dict[int, int]) -> list[autobatch.Measured]:
    """Return what will be measured here; steps of a process in `limits` are tried under that limit of address space."""
    original, seen = autobatch.measure, []

    def measure(*arguments: Any) -> autobatch.Measured:
        before = resource.getrlimit(resource.RLIMIT_AS)
        limit = limits.get(int(os.environ.get("RANK", "0")))
        if limit is not None:  # the process that tries steps inherits it
            resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        seen.append(original(*arguments))
        resource.setrlimit(resource.RLIMIT_AS, before)
        return seen[-1]

    autobatch.measure = measure
    return seen


def trained(config: TrainConfig, limits: dict[int, int], origins: dict[str, str] | None = None) -> dict[str, Any]:
    """Train and return the final state, what was measured, the line about the batch, and an error."""
    lines: list[str] = []
    console.say = lines.append
    measured, found = watched(limits), {"state": None, "error": ""}
    try:
        found["state"] = train(config, origins or {}).to_json()
    except UserError as error:
        found["error"] = str(error)
    return {**found, "measured": measured, "said": [line for line in lines if "chosen" in line]}


def auto(data: Path, project: Path, **changes: Any) -> TrainConfig:
    return tiny_config(data, project, batch=AUTO_BATCH, **{"nominal_batch": 16, **changes})


@pytest.mark.slow
def test_two_processes_choose_one_batch_that_is_saved_and_trains(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    first, second = run_processes(2, trained, auto(sparse_data, tmp_path), {})
    assert first["state"] == second["state"] and first["state"]["epoch"] == 1
    assert first["measured"][0].sizes == (1, 2, 4, 8), "on a CPU no more than an update has, 16, are tried"
    assert all(np.diff(first["measured"][0].taken_bytes) > 0)
    assert first["state"]["step"] == 2, "26 images in batches of 16"
    (line,) = first["said"]
    assert line.startswith("Batch 16 chosen, 8 on each of 2 processes: memory of a step by its images 1: ")
    assert " GiB free for a process may be taken" in line and "; 80% of " in line
    saved, origins = load_config(tmp_path / "exp" / "config.yaml")
    assert isinstance(saved, TrainConfig) and saved.batch == 16 and origins["batch"] == AUTOBATCH


@pytest.mark.slow
def test_memory_that_runs_out_on_one_process_makes_the_batch_of_all_smaller_and_training_goes_on(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = auto(sparse_data, tmp_path, nominal_batch=26, imgsz=256)
    first, second = run_processes(2, trained, config, {1: loaded_bytes() + 200 * MB})
    whole = first["measured"][0]
    assert whole.failed is None
    line = np.polyfit(whole.sizes[:3], whole.taken_bytes[:3], 1)
    assert np.polyval(line, 8) == pytest.approx(whole.taken_bytes[3], rel=0.15), (
        "a straight line foretells what is taken"
    )
    assert second["error"] == "", second["error"]
    assert second["measured"][0].failed in (2, 4, 8), "memory did run out"
    assert first["error"] == second["error"] == ""
    assert first["state"] == second["state"] and first["state"]["epoch"] == 1 and first["state"]["updates"] > 0
    saved, _ = load_config(tmp_path / "exp" / "config.yaml")
    assert isinstance(saved, TrainConfig)
    assert 2 <= saved.batch < 2 * second["measured"][0].failed


@pytest.mark.slow
def test_a_size_of_which_not_even_one_image_fits_is_said_in_one_line(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    (alone,) = run_processes(1, trained, auto(sparse_data, tmp_path, imgsz=16384), {0: loaded_bytes() + 400 * MB})
    assert "not even a step of one image fits into memory in --batch -1: memory ran out" in alone["error"]
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_a_resumed_run_keeps_its_batch_and_measures_nothing(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = auto(sparse_data, tmp_path, epochs=2)
    run_processes(1, interrupted_run, config, 1)
    again = replace(config, resume=str(tmp_path / "exp"), nominal_batch=4)
    (resumed,) = run_processes(1, trained, again, {}, {"batch": COMMAND_LINE})
    assert resumed["error"] == "" and resumed["measured"] == []
    assert resumed["state"]["epoch"] == 2 and resumed["state"]["step"] == 4
