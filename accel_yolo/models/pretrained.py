"""A model as a folder that can be given away: weights, a configuration that people can read, and the model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel_yolo.errors import CheckpointError
from accel_yolo.files import make_folder, write_text_atomic
from accel_yolo.models.hub import CARD, CONFIG, WEIGHTS
from accel_yolo.models.weights_meta import Weights, WeightsMeta
from accel_yolo.version import __version__

LIBRARY = "accel_yolo"


def write_folder(folder: Path, weights: Weights, card: str) -> Path:
    """Return `folder` after the three files were written into it; files of these names are replaced.

    Args:
        folder: created if missing.
        weights: what goes into `model.safetensors`, whose metadata are the truth; `config.json` repeats them.
        card: the text of `README.md`.

    Raises:
        EnvironmentFault: the folder cannot be written.
        CheckpointError: the weights do not fit their own description.
    """
    from accel_yolo.models.weights import detector_from_weights, save_weights

    make_folder(folder)
    save_weights(folder / WEIGHTS, detector_from_weights(weights), weights.meta)
    write_text_atomic(folder / CONFIG, json.dumps(config_of(weights), indent=2, ensure_ascii=False) + "\n")
    write_text_atomic(folder / CARD, card)
    return folder


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
