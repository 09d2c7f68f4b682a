"""What a weights file holds and where it comes from, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from accel_yolo.config.shipped import shipped_names
from accel_yolo.errors import UserError
from accel_yolo.models.blocks import Conv
from accel_yolo.models.detector import Detector
from accel_yolo.models.weights import load_weights
from accel_yolo.models.weights_meta import WeightsMeta, check_same_entries
from accel_yolo.models.zoo import build_detector, model_spec

_DEFAULTS = {"depth_multiple": 1.0, "width_multiple": 1.0, "channel_multiple": 8, "activation": None, "ch": 3}
_SHAPE = (*_DEFAULTS, "backbone", "head")


@dataclass(frozen=True)
class WeightsFacts:
    """What a weights file holds.

    Attributes:
        file: its path.
        size_bytes: on disk.
        architecture: name of the shipped model YAML that describes it; "" for another one.
        layers: modules in a row.
        names: class number -> name.
        parameters: numbers that training changes.
        parameters_fused: the same after normalisations are folded into convolutions.
        strides: input pixels per cell, per level.
        anchors_px: [L][A][2] widths and heights in network-input pixels.
        imgsz: image side the weights were trained for, px.
        licence: of the weights.
        provenance: what was done, first step first.
    """

    file: str
    size_bytes: int
    architecture: str
    layers: int
    names: dict[int, str]
    parameters: int
    parameters_fused: int
    strides: tuple[int, ...]
    anchors_px: list[list[list[float]]]
    imgsz: int
    licence: str
    provenance: tuple[str, ...]


def weights_facts(path: Path) -> WeightsFacts:
    """Return what the `.safetensors` or `.pt` file in `path` holds.

    Raises:
        CheckpointError: it cannot be read, or its entries are not those of the architecture it describes.
    """
    weights = load_weights(path)
    detector = _shape_of(weights.meta)
    check_same_entries(detector.state_dict(), weights.state, str(path))
    return _facts(path, path.stat().st_size, weights.meta, detector)


def described_facts(path: Path, meta: WeightsMeta) -> WeightsFacts:
    """Return what an exported model in `path`, a file or a folder, holds by its metadata."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return _facts(path, sum(file.stat().st_size for file in files), meta, _shape_of(meta))


def _shape_of(meta: WeightsMeta) -> Detector:
    """Return the detector that metadata describes, without numbers."""
    with torch.device("meta"):
        return build_detector(meta.spec, meta.names)


def _facts(path: Path, size_bytes: int, meta: WeightsMeta, detector: Detector) -> WeightsFacts:
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    return WeightsFacts(
        file=str(path),
        size_bytes=size_bytes,
        architecture=shipped_name(meta.spec),
        layers=len(detector.model),
        names=meta.names,
        parameters=parameters,
        parameters_fused=parameters - _folded_away(detector),
        strides=meta.strides,
        anchors_px=[[[float(side) for side in anchor] for anchor in level] for level in meta.anchors_px],
        imgsz=meta.imgsz,
        licence=meta.licence,
        provenance=meta.provenance,
    )


def shipped_name(spec: dict[str, Any]) -> str:
    """Return the name of the shipped model YAML with the layers of `spec`; "" where there is none."""
    for name in shipped_names("models"):
        try:
            candidate = model_spec(name)
        except UserError:
            continue
        if all(_part(candidate, key) == _part(spec, key) for key in _SHAPE):
            return name
    return ""


def _part(spec: dict[str, Any], key: str) -> Any:
    return _plain(spec.get(key, _DEFAULTS.get(key)))


def _plain(value: Any) -> Any:
    """Return lists for tuples, so that a spec compares equal whether it came from YAML or from JSON."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _folded_away(detector: Detector) -> int:
    """Return how many parameters folding saves: two per channel of a normalisation become one bias."""
    blocks = [module for module in detector.modules() if isinstance(module, Conv)]
    return sum(block.conv.out_channels for block in blocks)
