"""The detections of an evaluation as label files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.errors import EnvironmentFault
from accel_yolo.files import whole_folder
from accel_yolo.inference.output.texts import label_folder, rows_text
from accel_yolo.inference.sources.named import distinct_stems


def write_label_files(run: Path, result: Evaluation, index: SplitIndex, *, confidence: bool) -> int:
    """Write `labels/<stem>.txt` for every image in which something was found, and return how many; older ones go.

    A line holds the class, then centre x, centre y, width and height as fractions of the image's width and height,
    from the least to the most confident. Images of one name in several folders get numbered stems ("x-2").

    Args:
        run: the run folder.
        result: the evaluation.
        index: the images.
        confidence: append it to each line.

    Raises:
        EnvironmentFault: a file cannot be written.
        ConfigError: see `label_folder`.
    """
    folder = label_folder(run)
    detections = result.detections
    rows = np.searchsorted(detections[:, 0], np.arange(len(index) + 1))
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise EnvironmentFault("cannot remove", str(folder), error.strerror or error, "remove it yourself") from error
    written = 0
    with whole_folder(folder) as beside:
        for image, stem in enumerate(distinct_stems([Path(path) for path in index.paths])):
            mine = detections[rows[image] : rows[image + 1]]
            if len(mine):
                text = rows_text(_fractions(mine, index.sizes_hw[image]), confidence=confidence)
                (beside / f"{stem}.txt").write_text(text, encoding="utf-8")
                written += 1
    return written


def _fractions(detections: np.ndarray, size_hw: np.ndarray) -> np.ndarray:
    """Return [n, 6] centre, size as fractions, confidence, class of rows [n, 7] as an evaluation has them."""
    scale = size_hw[::-1].astype(np.float64)
    low, high = detections[:, 1:3] / scale, detections[:, 3:5] / scale
    return np.column_stack(((low + high) / 2, high - low, detections[:, 5:]))
