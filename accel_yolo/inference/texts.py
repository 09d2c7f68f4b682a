"""Detections as label files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from accel_yolo.inference.results import Detections


def label_text(detections: Detections, *, corners: bool = False, confidence: bool = False) -> str:
    """Return a label file, one line for each object, from the least to the most confident.

    A line holds the class, then centre x, centre y, width and height as fractions of the image's width and height.

    Args:
        detections: the objects of one image.
        corners: write x1, y1, x2, y2 (fractions too) instead.
        confidence: append the confidence.
    """
    return rows_text(detections.xyxyn if corners else detections.xywhn, confidence=confidence)


def rows_text(table: NDArray[np.floating], *, confidence: bool = False) -> str:
    """Return a label file of rows [n, 6]: four fractions, confidence, class; the last row comes first."""
    lines = []
    for *box, score, label in table[::-1].tolist():
        values = [int(label), *box, score] if confidence else [int(label), *box]
        lines.append(" ".join(f"{value:g}" for value in values) + "\n")
    return "".join(lines)
