"""Stopped at any step and taken up again, a run ends with the bits of the run that was not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stops import EPOCHS, STEPS, Ended, grain_config, resumed, stopped_and_resumed, trained

Run = Callable[..., list[Any]]

# A signal is told with the step after the next, so the run stops up to three steps later, or in the validation.
STOPS = {
    1: "data:0:0:term",
    2: "agreement:0:0:term",
    **{step: f"update:0:{step - 3}:term" for epoch in range(EPOCHS) for step in range(epoch * 5 + 3, epoch * 5 + 6)},
    6: "data:0:5:term",
    7: "agreement:0:5:term",
    11: "data:0:10:term",
    12: "agreement:0:10:term",
}
"""Steps that are done -> the signal after which a run stops there."""

IN_VALIDATION = {step: f"update:*:{step - 1}:term" for step in (5, 10, 15)}


@pytest.fixture(scope="module")
def whole(run_processes: Run, sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The run that nothing interrupts."""
    (ended,) = run_processes(1, trained, grain_config(sparse_data, tmp_path_factory.mktemp("whole")))
    return ended


def test_the_run_that_others_are_compared_with_learns_from_numbers(whole: Ended) -> None:
    losses = [[float(value) for value in row[1:4]] for row in whole.seen["rows"][1:]]
    assert len(losses) == EPOCHS and losses[0] != losses[2]
    assert all(math.isfinite(value) for row in losses for value in row)
    assert re.fullmatch("[0-9a-f]{64}", whole.seen["digest"])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, workers: int
) -> None:
    assert sorted(STOPS) == list(range(1, EPOCHS * STEPS + 1))
    config = grain_config(sparse_data, tmp_path, workers=workers)
    (found,) = run_processes(1, stopped_and_resumed, config, list(STOPS.values()), workers)
    for step, (stopped, ended) in zip(STOPS, found, strict=True):
        epoch = (step - 1) // STEPS + 1
        assert stopped.code == 75
        assert (
            f"stopped by SIGTERM in epoch {epoch} of 3 after step {step} (update {step}); continue with: "
            in stopped.line
        )
        assert f" train --resume {tmp_path / 'run'}" in stopped.line
        assert stopped.saved[-1] == f"step-{step:08d}"
        assert (ended.code, ended.seen) == (0, whole.seen), step


def test_stopped_in_a_validation_it_does_as_well(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    (found,) = run_processes(
        1, stopped_and_resumed, grain_config(sparse_data, tmp_path), list(IN_VALIDATION.values()), 0
    )
    for step, (stopped, ended) in zip(IN_VALIDATION, found, strict=True):
        assert (stopped.code, stopped.saved[-1]) == (75, f"step-{step:08d}")
        assert (ended.code, ended.seen) == (0, whole.seen), step


@pytest.mark.parametrize("fail", ["update:1:4:term", "update:0:5:int", "update:*:1:term"])
def test_all_processes_stop_at_the_same_step(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, fail: str
) -> None:
    both = run_processes(2, trained, grain_config(sparse_data, tmp_path), fail)
    code = 130 if fail.endswith("int") else 75
    assert [ended.code for ended in both] == [code, code]
    assert both[0].line == both[1].line
    assert f"by SIG{fail.rpartition(':')[2].upper()} in epoch " in both[0].line
    assert run_processes(2, trained, resumed(tmp_path / "exp"))[1].seen == whole.seen
