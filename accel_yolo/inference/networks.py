"""From the words after --weights to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from accel_yolo.errors import ConfigError
from accel_yolo.inference.augmented import AugmentedNetwork
from accel_yolo.inference.ensemble import Ensemble, Fusion
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights


@dataclass(frozen=True)
class NetworkOptions:
    """How networks run.

    Attributes:
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type.
        augment: each image is looked at three times, see `AugmentedNetwork`.
        fusion: how the answers of several networks are put together, see `Ensemble`.
    """

    precision: str = "auto"
    augment: bool = False
    fusion: Fusion = "nms"


def load_network(weights: Sequence[str], device: torch.device, options: NetworkOptions = NetworkOptions()) -> Network:
    """Return the network in weight files, on a device; several files are an ensemble.

    Args:
        weights: files, or names of published ones.
        device: where it runs.
        options: how it runs.

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError: fp16 on a CPU, weights that do not go together, or fusion of a single network.
    """
    if options.fusion == "wbf" and len(weights) < 2:
        remedy = "give two or more files after --weights, or leave --fusion out"
        raise ConfigError("there is nothing to fuse", "--weights", " ".join(weights), remedy)
    members = [_network(word, device, options) for word in weights]
    return members[0] if len(members) == 1 else Ensemble(members, options.fusion)


def _network(word: str, device: torch.device, options: NetworkOptions) -> Network:
    loaded = load_weights(find_weights(word))
    network = TorchNetwork(detector_from_weights(loaded).to(device), options.precision, loaded.meta.imgsz)
    return AugmentedNetwork(network) if options.augment else network
