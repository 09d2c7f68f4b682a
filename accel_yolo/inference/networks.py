"""From the words after --weights to a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from accel_yolo.errors import ConfigError
from accel_yolo.inference.augmented import AugmentedNetwork
from accel_yolo.inference.ensemble import Ensemble
from accel_yolo.inference.fusion import Fusion, check_fusion
from accel_yolo.inference.network import Network, TorchNetwork
from accel_yolo.inference.runtimes.kinds import exported_kind
from accel_yolo.inference.runtimes.opening import open_exported
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights


@dataclass(frozen=True)
class NetworkOptions:
    """How networks run.

    Attributes:
        precision: "auto" and "fp32" compute in float32; "fp16" and "bf16" run the network in that type. An exported
            model has its own.
        augment: each image is looked at three times, see `AugmentedNetwork`; not with exported models.
        fusion: how the answers of several networks are put together, see `Ensemble`.
        dnn: OpenCV runs the weights, which are ONNX files.
    """

    precision: str = "auto"
    augment: bool = False
    fusion: Fusion = "nms"
    dnn: bool = False


def load_network(weights: Sequence[str], device: torch.device, options: NetworkOptions = NetworkOptions()) -> Network:
    """Return the network in weight files, on a device; several files are an ensemble.

    Args:
        weights: files of ours, YOLOv5's `.pt`, exported models, or names of published weights.
        device: where it runs.
        options: how it runs.

    Raises:
        CheckpointError: no such weights, or damaged ones.
        ConfigError: fp16 on a CPU, weights that do not go together, fusion of a single network, or an option that an
            exported model does not have.
        EnvironmentFault: the runtime of an exported model is not installed.
    """
    check_fusion(weights, options.fusion)
    members = [_network(word, device, options) for word in weights]
    return members[0] if len(members) == 1 else Ensemble(members, options.fusion)


def _network(word: str, device: torch.device, options: NetworkOptions) -> Network:
    path = Path(word).expanduser()
    if kind := exported_kind(path):
        if options.augment:
            raise ConfigError("an exported model cannot be augmented", "--augment", word, "give the weights themselves")
        return open_exported(path, kind, device, options.precision, dnn=options.dnn)
    if options.dnn:
        raise ConfigError("OpenCV runs ONNX files only", "--dnn", word, "export the weights to onnx first")
    loaded = load_weights(find_weights(word))
    network = TorchNetwork(detector_from_weights(loaded).to(device), options.precision, loaded.meta.imgsz)
    return AugmentedNetwork(network) if options.augment else network
