"""Models by name: shipped and custom specifications, and detectors built from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from accel_yolo.config.shipped import find_config
from accel_yolo.config.yaml_io import load_yaml
from accel_yolo.models.detector import Detector
from accel_yolo.models.spec import FILE, checked_spec


def model_spec(name_or_path: str) -> dict[str, Any]:
    """Return the specification in a model YAML, shipped ("yolov5n", "yolov5n.yaml") or the user's own.

    Raises:
        ConfigError: no such file, not YAML, an unknown or missing key, a value of the wrong kind.
    """
    label, path = find_config("models", name_or_path, "--cfg")
    content = load_yaml(path, shown=label)
    return {**checked_spec(content.data, label), FILE: label}


def build_detector(spec: Mapping[str, Any], names: Mapping[int, str], *, seed: int = 0) -> Detector:
    """Return a freshly initialised detector; equal arguments give equal weights.

    Initialisation: PyTorch's defaults for convolutions, priors added to the head's biases (`Detect.shift_biases`).
    Random numbers come from a generator seeded here: the global generator is neither read nor moved, so that
    building a model at another moment, or not at all, changes nothing else.

    Args:
        spec: content of a model YAML, as `model_spec` returns it.
        names: class number -> name.
        seed: of the initial weights.

    Raises:
        ConfigError: the specification is wrong; names file, layer and value.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Detector(spec, names, where=str(spec.get(FILE, "model")))
