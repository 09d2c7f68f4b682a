"""Detections as label files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accel_yolo.errors import ConfigError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from accel_yolo.inference.results import Detections


LABELS = "labels"
"""The folder of label files in a run folder."""


def label_folder(run: Path) -> Path:
    """Return where a run writes its label files, after looking that only such files of an earlier run are there.

    Raises:
        ConfigError: it is a link, or holds other things than label files.
    """
    folder = run / LABELS
    if folder.is_symlink() or (folder.exists() and not _holds_texts_only(folder)):
        remedy = "nothing is overwritten there: choose another --name"
        raise ConfigError("not the label files of a run", value=printable(str(folder)), remedy=remedy)
    return folder


def _holds_texts_only(folder: Path) -> bool:
    return folder.is_dir() and all(
        entry.suffix == ".txt" and entry.is_file() and not entry.is_symlink() for entry in folder.iterdir()
    )


def label_text(detections: Detections, *, corners: bool = False, confidence: bool = False) -> str:
    """Return a label file, one line for each object, from the least to the most confident.

    A line holds the class, then centre x, centre y, width and height as fractions of the image's width and height; at
    its end, where objects are followed, the number of the object's track, -1 where it has none (yet).

    Args:
        detections: the objects of one image.
        corners: write x1, y1, x2, y2 (fractions too) instead.
        confidence: append the confidence.
    """
    table = detections.xyxyn if corners else detections.xywhn
    return rows_text(table, detections.track_ids, confidence=confidence)


def rows_text(
    table: NDArray[np.floating], track_ids: NDArray[np.int64] | None = None, *, confidence: bool = False
) -> str:
    """Return a label file of rows [n, 6]: four fractions, confidence, class; the last row comes first."""
    lines = []
    for place in range(len(table) - 1, -1, -1):
        *box, score, label = table[place].tolist()
        words = [str(int(label)), *(f"{value:g}" for value in ([*box, score] if confidence else box))]
        if track_ids is not None:
            words.append(str(track_ids[place]))
        lines.append(" ".join(words) + "\n")
    return "".join(lines)
