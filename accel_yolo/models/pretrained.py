"""The configuration beside the weights of a model folder, which people can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel_yolo.errors import CheckpointError
from accel_yolo.models.hub import CONFIG, WEIGHTS
from accel_yolo.models.weights_meta import Weights, WeightsMeta
from accel_yolo.version import __version__

LIBRARY = "accel_yolo"


def config_of(weights: Weights) -> dict[str, Any]:
    """Return the content of `config.json`."""
    parameters = sum(value.numel() for key, value in weights.state.items() if key.endswith(("weight", "bias")))
    about = {"library_name": LIBRARY, "library_version": __version__, "task": "object-detection"}
    return {**about, "parameters": parameters, **_fields(weights.meta)}


def check_config(path: Path, meta: WeightsMeta) -> None:
    """Check that the configuration beside a weights file says what the file says.

    Args:
        path: the weights file; one that is not called `model.safetensors`, or has no `config.json` of ours beside it,
            is not checked.
        meta: what it holds.

    Raises:
        CheckpointError: naming the first key that differs.
    """
    beside = path.with_name(CONFIG)
    if path.name != WEIGHTS or not beside.is_file():
        return
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            "unreadable configuration", str(beside), str(error)[:100], "get the folder again"
        ) from error
    if not isinstance(config, dict) or config.get("library_name") != LIBRARY:
        return
    for key, value in _fields(meta).items():
        if config.get(key) != value:
            remedy = f"{path.name} counts: correct {CONFIG}, or get the folder again"
            raise CheckpointError(f"{CONFIG} and {WEIGHTS} differ", str(path.parent), f"'{key}'", remedy)


def _fields(meta: WeightsMeta) -> dict[str, Any]:
    return json.loads(meta.to_json())
