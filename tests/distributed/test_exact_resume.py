"""Stopped at any step and taken up again, a run ends with the bits of the run that was not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from stops import (
    EPOCHS,
    STEPS,
    Ended,
    fast_config,
    grain_config,
    resumed,
    stopped_and_resumed,
    trained,
    trained_watching_inputs,
)

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


def test_the_run_that_others_are_compared_with_learns_from_numbers(whole: Ended) -> None:
    losses = [[float(value) for value in row[1:4]] for row in whole.seen["rows"][1:]]
    assert len(losses) == EPOCHS and losses[0] != losses[2]
    assert all(math.isfinite(value) for row in losses for value in row)
    assert re.fullmatch("[0-9a-f]{64}", whole.seen["digest"])


@pytest.mark.parametrize(
    ("workers", "steps"),
    [
        (0, (2, 5, 9, 13)),
        pytest.param(0, tuple(sorted(STOPS)), marks=pytest.mark.slow),
        pytest.param(2, tuple(sorted(STOPS))[::3], marks=pytest.mark.slow),
    ],
)
def test_stopped_at_every_step_a_run_ends_as_if_it_had_not_been(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, workers: int, steps: tuple[int, ...]
) -> None:
    assert sorted(STOPS) == list(range(1, EPOCHS * STEPS + 1))
    config = grain_config(sparse_data, tmp_path, workers=workers)
    (found,) = run_processes(1, stopped_and_resumed, config, [STOPS[step] for step in steps], workers)
    for step, (stopped, ended) in zip(steps, found, strict=True):
        epoch = (step - 1) // STEPS + 1
        assert stopped.code == 75
        assert (
            f"stopped by SIGTERM in epoch {epoch} of 3 after step {step} (update {step}); continue with: "
            in stopped.line
        )
        assert f" train --resume {tmp_path / 'run'}" in stopped.line
        assert stopped.saved[-1] == f"step-{step:08d}"
        assert (ended.code, ended.seen) == (0, whole.seen), step


@pytest.mark.slow
def test_stopped_in_a_validation_it_does_as_well(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    (found,) = run_processes(
        1, stopped_and_resumed, grain_config(sparse_data, tmp_path), list(IN_VALIDATION.values()), 0
    )
    for step, (stopped, ended) in zip(IN_VALIDATION, found, strict=True):
        assert (stopped.code, stopped.saved[-1]) == (75, f"step-{step:08d}")
        assert (ended.code, ended.seen) == (0, whole.seen), step


@pytest.mark.parametrize(
    "fail",
    [
        "update:1:4:term",
        *(pytest.param(fail, marks=pytest.mark.slow) for fail in ("update:0:5:int", "update:*:1:term")),
    ],
)
def test_all_processes_stop_at_the_same_step(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended, fail: str
) -> None:
    both = run_processes(2, trained, grain_config(sparse_data, tmp_path), fail)
    code = 130 if fail.endswith("int") else 75
    assert [ended.code for ended in both] == [code, code]
    assert both[0].line == both[1].line
    assert f"by SIG{fail.rpartition(':')[2].upper()} in epoch " in both[0].line
    assert run_processes(2, trained, resumed(tmp_path / "exp"))[1].seen == whole.seen


@pytest.mark.slow
def test_a_chain_of_four_one_and_two_processes_that_stop_in_mid_epoch_gives_the_same_bits(
    run_processes: Run, sparse_data: Path, tmp_path: Path, whole: Ended
) -> None:
    run = tmp_path / "exp"
    # Six images in three micro-batches of two: the fourth process would have nothing, so there are twelve.
    big = {"batch": 12, "nominal_batch": 12}
    (alone,) = run_processes(1, trained, grain_config(sparse_data, tmp_path, name="alone", **big))
    for stopped in run_processes(4, trained, grain_config(sparse_data, tmp_path, **big), "data:0:0:term"):
        assert (stopped.code, stopped.saved) == (75, ("step-00000001",))
    (stopped,) = run_processes(1, trained, resumed(run), "data:0:3:term")
    assert (stopped.code, stopped.saved[-1]) == (75, "step-00000004")
    for ended in run_processes(2, trained, resumed(run)):
        assert (ended.code, ended.seen) == (0, alone.seen)


def worst_difference(project: Path) -> float:
    """Return the largest relative distance of a tensor of the last checkpoints of runs "whole" and "exp"."""
    whole, other = (
        load_file(sorted((project / name / "checkpoints").iterdir())[-1] / "model.safetensors")
        for name in ("whole", "exp")
    )
    return max(
        float((other[name].double() - value.double()).norm() / value.double().norm().clamp(min=1e-3))
        for name, value in whole.items()
    )


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulating": {"nominal_batch": 12},
    "a warm-up that is still going on": {"nominal_batch": 24, "warmup_min_steps": 9},
    "multi-scale": {"multi_scale": True},
    "close-mosaic": {"close_mosaic": 1},
    "rect": {"rect": True},
    "quad": {"quad": True, "batch": 8, "nominal_batch": 8},
    "image-weights": {"image_weights": True},
    "decode-once": {"decode_once": 4},
    "groups": {"bn_group": 2},
    "AdamW": {"optimizer": "AdamW"},
    "bf16": {"precision": "bf16"},
    "frozen": {"freeze": (3,)},
}


def fast_pair(config: Any, fail: str) -> tuple[Ended, Ended, Ended]:
    """Train without and with a stop and return how both ended, and the stop."""
    whole = trained(replace(config, name="whole"))
    stopped = trained(replace(config, name="stopped"), fail)
    return (
        whole,
        stopped,
        trained(resumed(Path(config.project) / "stopped", workers=config.workers), typed=("workers",)),
    )


STOP_OF_WAY = dict.fromkeys(("accumulating", "a warm-up that is still going on"), "data:0:5:term")
"""Where updates are rare, a signal must come early to stop the run within an epoch."""


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_default_mode_goes_on_bit_by_bit_on_one_process(
    run_processes: Run, sparse_data: Path, tmp_path: Path, way: str
) -> None:
    config = fast_config(sparse_data, tmp_path, **WAYS[way])
    ((whole, stopped, ended),) = run_processes(1, fast_pair, config, STOP_OF_WAY.get(way, "forward:0:6:term"))
    assert stopped.code == 75 and 5 < int(stopped.saved[-1].removeprefix("step-")) < 10
    assert (ended.code, ended.seen) == (0, whole.seen)


@pytest.mark.parametrize("way", ["accumulating", "AdamW"])
def test_the_default_mode_goes_on_bit_by_bit_on_two_processes(
    run_processes: Run, sparse_data: Path, tmp_path: Path, way: str
) -> None:
    config = fast_config(sparse_data, tmp_path, **WAYS[way])
    whole = run_processes(2, trained, replace(config, name="whole"))
    stopped = run_processes(2, trained, config, "data:1:5:term")
    assert [ended.code for ended in stopped] == [75, 75]
    assert 5 < int(stopped[0].saved[-1].removeprefix("step-")) < 10
    ended = run_processes(2, trained, resumed(tmp_path / "exp"))
    assert ended[0].seen == ended[1].seen == whole[0].seen


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 4])
def test_on_any_number_of_processes_the_default_mode_learns_nearly_the_same(
    run_processes: Run, sparse_data: Path, tmp_path: Path, size: int
) -> None:
    config = fast_config(sparse_data, tmp_path, bn_group=2, optimizer="SGD", batch=8, nominal_batch=8)
    ((_, inputs),) = run_processes(1, trained_watching_inputs, replace(config, name="whole"))
    ended = run_processes(size, trained_watching_inputs, config)
    assert [process.code for process, _ in ended] == [0] * size
    assert {key: value for _, seen in ended for key, value in seen.items()} == inputs
    assert worst_difference(tmp_path) < 1e-5


@pytest.mark.slow
def test_on_another_number_of_processes_the_default_mode_sees_the_same_and_learns_nearly_the_same(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    config = fast_config(sparse_data, tmp_path, bn_group=2, optimizer="SGD")
    ((_, inputs),) = run_processes(1, trained_watching_inputs, replace(config, name="whole"))
    before = run_processes(2, trained_watching_inputs, config, "forward:1:6:term")
    ((ended, after),) = run_processes(1, trained_watching_inputs, resumed(tmp_path / "exp"))
    assert ended.code == 0 and all(stopped.code == 75 for stopped, _ in before)
    assert min(after)[1] > 0, "it begins in mid-epoch"
    seen = {**before[0][1], **before[1][1], **after}
    assert seen == inputs
    assert worst_difference(tmp_path) < 1e-5
    # The losses of an epoch that two processes began are those of its whole.
    mine, theirs = (Path(tmp_path, name, "results.csv").read_text().splitlines()[2] for name in ("exp", "whole"))
    assert [float(cell) for cell in mine.split(",")[1:4]] == pytest.approx(
        [float(cell) for cell in theirs.split(",")[1:4]], rel=1e-4
    )
