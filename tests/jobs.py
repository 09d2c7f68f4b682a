"""What the processes of the distributed tests do: real trainings, watched at the points that must agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accel_yolo import console
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine import build
from accel_yolo.engine.saving import Checkpoints
from accel_yolo.engine.train import train
from accel_yolo.engine.world import World

BATCH = 8


def tiny_config(data: Path, project: Path, **changes: Any) -> TrainConfig:
    """Return a training of yolov5n at 64 px on a tiny data set, without what would hide a difference."""
    hyp = Hyp(mosaic=0.0, fliplr=0.5, warmup_epochs=0, lr0=0.01)
    settings: dict[str, Any] = {
        "data": str(data), "weights": "", "cfg": "yolov5n.yaml", "imgsz": 64, "batch": BATCH, "epochs": 1,
        "nominal_batch": BATCH, "warmup_min_steps": 0, "workers": 0, "device": "cpu", "noautoanchor": True,
        "project": str(project), "exist_ok": True, "hyp": hyp, "noplots": True,
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


class Interrupted(Exception):
    """Stands for whatever ends a run."""


def interrupted_run(config: TrainConfig, epochs: int) -> None:
    """Train until `epochs` epochs are saved and validated, and end there."""
    original = Checkpoints.finish_epoch

    def finish_epoch(checkpoints: Checkpoints, state: Any) -> None:
        original(checkpoints, state)
        if state.epoch == epochs:
            raise Interrupted

    Checkpoints.finish_epoch = finish_epoch
    with pytest.raises(Interrupted):
        train(config, {})


def digest(tensors: dict[str, Tensor]) -> str:
    """Return one SHA-256 over named tensors."""
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(name.encode())
        total.update(value.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


def watched_training(
    config: TrainConfig, double: bool, frozen_batchnorm: bool = False, local_counts: bool = False
) -> dict[str, Any]:
    """Train and return what was seen.

    Args:
        config: the run.
        double: compute in float64.
        frozen_batchnorm: BatchNorm uses its running statistics and never changes them.
        local_counts: sabotage: divide by each process's own counts, as the naive mean over processes does.

    Returns:
        gradients: of the first update, name -> array. local_objects: objects of this process at each step.
        buffers: a digest of the running statistics after each update. ema: a digest of the average after each update.
        weights, averaged: final state dicts.
    """
    console.quiet()
    torch.set_default_dtype(torch.float64 if double else torch.float32)
    seen: dict[str, Any] = {"gradients": {}, "local_objects": [], "buffers": [], "ema": []}
    if frozen_batchnorm:
        build.convert_batchnorm = _freeze_batchnorm
    original_build, original_sum, original_apply = build.build_training, World.start_sum, World.apply

    def build_and_keep(*arguments: Any) -> Any:
        seen["training"] = original_build(*arguments)
        return seen["training"]

    def counted_sum(world: World, values: Tensor) -> Any:
        if (
            len(values) == 6 + Checkpoints.WORDS
        ):  # the control word: entries of three levels, objects, step, square, more
            seen["local_objects"].append(int(values[3]))
            if local_counts:
                step = original_sum(world, values[4:])
                return _Known(torch.cat((values[:4] * world.size, step.wait())))
        return original_sum(world, values)

    def recorded_apply(world: World, optimizer: Any, norm: Tensor) -> bool:
        if not seen["gradients"]:
            parameters = seen["training"].detector.named_parameters()
            seen["gradients"] = {name: p.grad.clone() for name, p in parameters if p.grad is not None}
        return original_apply(world, optimizer, norm)

    World.start_sum, World.apply = counted_sum, recorded_apply  # pyright: ignore
    _record_updates(seen)
    import accel_yolo.engine.train as loop

    loop.build_training = build_and_keep
    train(config, {})
    training = seen.pop("training")
    seen["weights"] = training.detector.state_dict()
    seen["averaged"] = training.ema.detector.state_dict()
    # Arrays, because a tensor would be sent as a handle to memory of a process that is about to end.
    for name in ("gradients", "weights", "averaged"):
        seen[name] = {key: value.numpy() for key, value in seen[name].items()}
    return seen


def _record_updates(seen: dict[str, Any]) -> None:
    from accel_yolo.engine.ema import Ema

    original = Ema.update

    def update(ema: Ema, detector: Any, *, applied: bool = True) -> None:
        original(ema, detector, applied=applied)
        seen["buffers"].append(digest({k: v for k, v in detector.state_dict().items() if "running" in k}))
        seen["ema"].append(digest(ema.detector.state_dict()))

    Ema.update = update


class _Known:
    def __init__(self, value: Tensor) -> None:
        self.value = value

    def wait(self) -> Tensor:
        return self.value


def _freeze_batchnorm(module: nn.Module, **_: Any) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            layer.train = _stay(layer)


def _stay(layer: nn.Module) -> Callable[..., nn.Module]:
    return lambda mode=True: layer
