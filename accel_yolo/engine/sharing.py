"""What machine 0 reads from its disk, given to all processes: run folders need not be on a shared disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.engine.messages import Messages
from accel_yolo.models.weights_meta import Weights, WeightsMeta

Resumed = tuple[Path | None, TrainConfig, dict[str, str]]
"""A run folder, its configuration and the origin of each value."""


def share_tensors(tensors: dict[str, Tensor], world: Messages) -> dict[str, Tensor]:
    """Return the leader's named tensors on all processes, on the host; what the others pass is ignored."""
    if world.size == 1:
        return tensors
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()} if world.is_leader else {}
    return load(world.share_bytes(save(plain) if world.is_leader else b""))


def share_weights(weights: Weights | None, world: Messages) -> Weights:
    """Return the weights that the leader has loaded on all processes."""
    text = world.share_text(weights.meta.to_json() if weights is not None else "")
    state = share_tensors(weights.state if weights is not None else {}, world)
    return Weights(state, WeightsMeta.from_json(text, "weights of machine 0"))


def share_json(content: Any, world: Messages) -> Any:
    """Return the leader's plain data on all processes."""
    return json.loads(world.share_text(json.dumps(content)))


def share_numbers(numbers: tuple[float, ...], world: Messages) -> tuple[float, ...]:
    """Return the leader's numbers on all processes, to the last digit: processors of several kinds may round apart."""
    return tuple(share_json(list(numbers), world))


def share_resumed(found: Resumed, world: Messages) -> Resumed:
    """Return the run that the leader has found, with its configuration, on all processes."""
    folder, config, origins = found
    plain = {
        "folder": None if folder is None else str(folder),
        "settings": {name: getattr(config, name) for name in rules_of(TrainConfig)},
        "hyp": {name: getattr(config.hyp, name) for name in rules_of(Hyp)},
        "origins": origins,
    }
    told = share_json(plain, world)
    config = TrainConfig(**told["settings"], hyp=Hyp(**told["hyp"]))
    return Path(told["folder"]) if told["folder"] is not None else None, config, told["origins"]
