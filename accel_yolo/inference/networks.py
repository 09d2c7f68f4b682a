"""From the words after --weights to a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights


def load_network(weights: Sequence[str], device: torch.device, precision: str = "auto") -> Network:
    """Return the network in weight files, on a device.

    Args:
        weights: a file, or the name of a published one.
        device: where it runs.
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type.

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError: fp16 on a CPU.
    """
    (word,) = weights
    loaded = load_weights(find_weights(word))
    return TorchNetwork(detector_from_weights(loaded).to(device), precision, loaded.meta.imgsz)
