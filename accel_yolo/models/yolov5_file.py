"""Writes weights as a `.pt` checkpoint that YOLOv5's own programs load, without its code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from accel_yolo.files import atomic_path
from accel_yolo.models.blocks import Conv
from accel_yolo.models.detector import Detector
from accel_yolo.models.licence import KEY
from accel_yolo.models.own_note import note_text
from accel_yolo.models.torch_archive import write_torch_archive
from accel_yolo.models.weights_meta import Weights, WeightsMeta
from accel_yolo.models.yolov5_objects import yolov5_model


def save_yolov5(path: Path, detector: Detector, meta: WeightsMeta) -> torch.dtype:
    """Write a detector as a finished YOLOv5 checkpoint, atomically; equal weights give equal bytes.

    Numbers are never rounded: all are float16, as in published checkpoints, where each survives that; else float32.

    Args:
        path: the file; its folder is made.
        detector: unfused.
        meta: what the file says about itself, in a place that YOLOv5 ignores.

    Returns:
        The floating-point type in the file.

    Raises:
        CheckpointError: a layer has no counterpart in YOLOv5.
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    if any(isinstance(module, Conv) and isinstance(module.bn, nn.Identity) for module in detector.modules()):
        raise ValueError("a fused detector cannot be saved as weights")
    state = detector.state_dict()
    halves = all(survives_half(value) for value in state.values() if value.is_floating_point())
    model = yolov5_model(detector, Tensor.half if halves else Tensor.float)
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": model,
        "ema": None,
        "updates": None,
        "optimizer": None,
        "opt": {"imgsz": meta.imgsz},
        "git": None,
        "date": None,
        KEY: note_text(Weights(state, meta)),
    }
    with atomic_path(path) as temporary:
        write_torch_archive(temporary, content)
    return torch.float16 if halves else torch.float32


def survives_half(value: Tensor) -> bool:
    """Return whether every number is the same, bit for bit, after a way through float16."""
    exact = value.detach().cpu().float().contiguous()
    return bool((exact.half().float().view(torch.int32) == exact.view(torch.int32)).all())
