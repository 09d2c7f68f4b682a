"""Converts weights between this project's format and checkpoints that YOLOv5's own programs load."""

from __future__ import annotations

from pathlib import Path

import torch

from accel_yolo import console
from accel_yolo.config.weights_schema import WEIGHT_FORMATS, ConvertConfig
from accel_yolo.errors import CheckpointError
from accel_yolo.models.made_of import beside_weights
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights, save_weights
from accel_yolo.models.yolov5_file import save_yolov5


def convert(source: str | Path, destination: str | Path = "", to: str = "auto") -> Path:
    """Write the weights in `source` in another format and return the new file.

    Args:
        source: a `.safetensors` file of this project, a YOLOv5 `.pt` file, a model folder, or the name of a
            published checkpoint or of a repository of the Hugging Face hub.
        destination: a file that does not exist yet; "" puts it beside the source (of fetched weights: into
            the working folder).
        to: "safetensors", "yolov5-pt" (a file that YOLOv5's own programs load), or "auto": what the destination's name
            says, safetensors without one.

    Raises:
        ConfigError: the destination's name and `to` contradict each other.
        CheckpointError: the source cannot be read, a layer has no counterpart in YOLOv5, or the destination exists
            (it is never overwritten).
        EnvironmentFault: the destination cannot be written.
    """
    without = "safetensors" if to == "auto" and not str(destination) else to
    form = ConvertConfig(source=str(source), destination=str(destination), to=without).format
    path = find_weights(str(source))
    beside = beside_weights(str(source), path, WEIGHT_FORMATS[form])
    target = Path(destination).expanduser() if str(destination) else beside
    if target.exists() or target.is_symlink():
        raise CheckpointError("destination exists", str(target), remedy="remove it or choose another name")
    weights = load_weights(path)
    detector = detector_from_weights(weights)
    if form == "yolov5-pt":
        halves = save_yolov5(target, detector, weights.meta.derived("converted to a YOLOv5 .pt")) == torch.float16
        stored = ", float16 (every value survives it)" if halves else ", float32"
    else:
        save_weights(target, detector, weights.meta.derived("converted to safetensors"))
        stored = ""
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    console.note(
        f"wrote {target}: {len(weights.state)} entries, {parameters:,} parameters{stored}, {detector.nc} classes, "
        f"strides {' '.join(map(str, detector.strides))}, licence {weights.meta.licence}"
    )
    return target
