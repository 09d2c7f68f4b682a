"""No device holds more than the others: average, validation and what a checkpoint needs are on every process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import tiny_config

from accel_yolo import console
from accel_yolo.engine.build import open_data
from accel_yolo.engine.evaluate import evaluate
from accel_yolo.engine.memory import held_tensor_bytes
from accel_yolo.engine.optim import optimizer_tensors
from accel_yolo.engine.stepping import Stepper
from accel_yolo.engine.world import World

Run = Callable[..., list[Any]]
SIZE_OF_X = 86_000_000 * 4
"""Bytes of one copy of yolov5x, about."""


def held_through_an_epoch(data: Path, project: Path, cfg: str) -> tuple[dict[str, int], dict[str, int]]:
    """Return the tensor bytes that this process holds at the points of an epoch, and without its average if it is not
    the first process."""
    world = World.start("cpu")
    console.quiet()
    config = tiny_config(data, project, cfg=cfg, batch=world.size, nominal_batch=world.size)
    stepper = Stepper(config, open_data(config, world), world, steps=2, most_val_images=4)
    training, held = stepper.training, {}
    stepper.step(stepper.ready, exchange=True)
    held["after an update"] = held_tensor_bytes()
    evaluate(training.ema.detector, stepper.val_loader, training.evaluation, world)
    held["after a validation"] = held_tensor_bytes()
    groups = training.detector.state_dict(), training.ema.detector.state_dict()
    moments = optimizer_tensors(training.detector, training.optimizer)
    held["with a checkpoint prepared"] = held_tensor_bytes()
    assert len(groups[0]) == len(groups[1]) > len(moments) > 0
    del groups
    if not world.is_leader:
        # Sabotage: the average is on the first process only.
        training.ema.detector, training.ema._pairs = training.detector, None
    one_sided = {"after an update": held_tensor_bytes()}
    world.end()
    return held, one_sided


def worst_imbalance(results: list[dict[str, int]]) -> float:
    """Return by what share process 0 differs most from another process."""
    first, *others = results
    return max(abs(first[point] / other[point] - 1) for other in others for point in first)


@pytest.mark.slow
def test_no_process_holds_more_than_the_others_and_one_with_the_only_average_would_be_found(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    results = run_processes(2, held_through_an_epoch, sparse_data, tmp_path, "yolov5x.yaml")
    balanced, one_sided = [held for held, _ in results], [held for _, held in results]
    # Weights, their average and the momentum; or nothing would have been measured.
    assert all(value > 3 * SIZE_OF_X for held in balanced for value in held.values())
    assert worst_imbalance(balanced) < 0.01, balanced
    assert worst_imbalance(one_sided) > 0.1, one_sided


def test_a_small_detector_is_balanced_over_three_processes(
    run_processes: Run, sparse_data: Path, tmp_path: Path
) -> None:
    results = run_processes(3, held_through_an_epoch, sparse_data, tmp_path, "yolov5n.yaml")
    balanced = [held for held, _ in results]
    assert worst_imbalance(balanced) < 0.01, balanced


def test_memory_that_tensors_share_counts_once_and_gradients_count() -> None:
    before = held_tensor_bytes()
    base = torch.zeros(1000)
    views = [base[10:], base.view(10, 100), base[:1]]
    assert held_tensor_bytes() - before == 4000
    weight = torch.nn.Parameter(torch.zeros(500))
    weight.sum().backward()
    assert held_tensor_bytes() - before == 4000 + 2 * 2000
    del base, views
    weight.grad = None
    assert held_tensor_bytes() - before == 2000
