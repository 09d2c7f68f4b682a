"""With fp16, the loss scale is part of the state: a run that is taken up goes on with the one it had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import AutocastKwargs
from stops import fast_config, resumed, trained

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_reading import read
from accel_yolo.engine.world import World

FIRST_SCALE, UPDATES_TO_GROW = 1024.0, 2

Run = Callable[..., list[Any]]


def trained_with_scaler(config: TrainConfig, fail: str = "") -> tuple[str, dict[str, Any]]:
    """Train with the scaler of fp16, without its autocast, and return the last line and the scaler that was saved."""
    original = World.compute_in

    def compute_in(world: World, _precision: str, compression: str = "none") -> None:
        original(world, "fp32", compression)
        accelerator = world._accelerator
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=FIRST_SCALE, growth_interval=UPDATES_TO_GROW)
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.autocast_handler = AutocastKwargs(enabled=False)

    World.compute_in = compute_in  # pyright: ignore
    ended = trained(config, fail)
    folder = Path(config.resume) if config.resume else Path(config.project) / config.name
    newest = CheckpointFolder(folder / "checkpoints").newest_valid()
    assert newest is not None
    return ended.line, read(newest)[1]["scaler"]


def test_the_loss_scale_goes_on_where_it_was(run_processes: Run, sparse_data: Path, tmp_path: Path) -> None:
    config = fast_config(sparse_data, tmp_path)
    ((line, whole),) = run_processes(1, trained_with_scaler, replace(config, name="whole"))
    assert line == "" and whole["scale"] > FIRST_SCALE
    ((line, halfway),) = run_processes(1, trained_with_scaler, replace(config, name="broken"), "update:0:5:term")
    assert line.startswith("stopped by SIGTERM") and FIRST_SCALE < halfway["scale"] < whole["scale"]
    ((line, taken_up),) = run_processes(1, trained_with_scaler, resumed(tmp_path / "broken"))
    assert line == "" and taken_up == whole
