"""From the words after --weights to a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from accel_yolo.errors import ConfigError
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.runtimes.kinds import exported_kind
from accel_yolo.inference.runtimes.opening import open_exported
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights


def load_network(weights: Sequence[str], device: torch.device, precision: str = "auto", *, dnn: bool = False) -> Network:
    """Return the network in weight files, on a device.

    Args:
        weights: a file of ours, a YOLOv5 `.pt`, an exported model, or the name of a published one.
        device: where it runs.
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type.
            An exported model has its own.
        dnn: OpenCV runs the model, which is an ONNX file.

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError: fp16 on a CPU, or `dnn` for something else.
        EnvironmentFault: the runtime of an exported model is not installed.
    """
    (word,) = weights
    path = Path(word).expanduser()
    if kind := exported_kind(path):
        return open_exported(path, kind, device, precision, dnn=dnn)
    if dnn:
        raise ConfigError("OpenCV runs ONNX files only", "--dnn", word, "export the weights to onnx first")
    loaded = load_weights(find_weights(word))
    return TorchNetwork(detector_from_weights(loaded).to(device), precision, loaded.meta.imgsz)
