"""What only a GPU can show; without one there is nothing here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import tiny_config

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import open_data
from accel_yolo.engine.stepping import Stepper
from accel_yolo.engine.world import World


def losses_of_steps(config: TrainConfig, waits: str) -> list[list[float]]:
    """Return the loss sums of the last of some steps on one batch; `waits` says what a wait for the GPU is."""
    world = World.start(config.device, config.precision)
    stepper = Stepper(config, open_data(config, world), world, 2, 2)
    for _ in range(3):  # what happens once may wait
        stepper.step(stepper.ready, exchange=True)
    torch.cuda.set_sync_debug_mode(waits)
    try:
        for _ in range(3):
            stepper.step(stepper.ready, exchange=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return stepper.training.gradient.sums.tolist()


if torch.cuda.is_available():

    def test_a_step_never_waits_for_the_gpu(run_processes: Callable, sparse_data: Path, tmp_path: Path) -> None:
        run_processes(1, losses_of_steps, tiny_config(sparse_data, tmp_path, device="0", precision="bf16"), "error")

    @pytest.mark.slow
    @pytest.mark.parametrize("flag", ["compile", "cuda_graphs"])
    def test_faster_kernels_compute_the_same(
        run_processes: Callable, sparse_data: Path, tmp_path: Path, flag: str
    ) -> None:
        plain: dict[str, Any] = {"device": "0", "precision": "fp32"}
        results = [
            run_processes(1, losses_of_steps, tiny_config(sparse_data, tmp_path, **plain, **changes), "default")[0]
            for changes in ({}, {flag: True})
        ]
        torch.testing.assert_close(torch.tensor(results[0]), torch.tensor(results[1]), rtol=1e-3, atol=1e-3)
