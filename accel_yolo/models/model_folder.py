"""A model as a folder that can be given away: weights, a configuration that people can read, and the model card."""

from __future__ import annotations

import json
from pathlib import Path

from accel_yolo.files import make_folder, write_text_atomic
from accel_yolo.models.hub import CARD, CONFIG, WEIGHTS
from accel_yolo.models.pretrained import config_of
from accel_yolo.models.weights import detector_from_weights, save_weights
from accel_yolo.models.weights_meta import Weights


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
    make_folder(folder)
    save_weights(folder / WEIGHTS, detector_from_weights(weights), weights.meta)
    # Provenance names files, whose names need not be UTF-8: what is not is written out, in JSON by its own escape.
    config = json.dumps(config_of(weights), indent=2, ensure_ascii=False) + "\n"
    for name, text in ((CONFIG, config), (CARD, card)):
        write_text_atomic(folder / name, text.encode("utf-8", "backslashreplace").decode("utf-8"))
    return folder
