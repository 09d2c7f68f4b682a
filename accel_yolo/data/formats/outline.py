"""COCO's segmentations as one outline each: parts of an object are joined where they are nearest."""

from __future__ import annotations

import msgspec
import numpy as np

_POLYGONS = msgspec.json.Decoder(list[list[float]])
_LEAST_COORDINATES = 6


def outline_of_segmentation(raw: bytes) -> np.ndarray:
    """Return the outline [p, 2] float64 in px of a segmentation; [0, 2] where it has none.

    Run lengths (crowds, and masks that some tools write) have no outline: the object keeps its box.

    Args:
        raw: the JSON text.
    """
    try:
        parts = [part for part in _POLYGONS.decode(raw) if len(part) >= _LEAST_COORDINATES and len(part) % 2 == 0]
    except (msgspec.ValidationError, msgspec.DecodeError):
        parts = []
    if not parts:
        return np.zeros((0, 2))
    outline, *others = (np.array(part, np.float64).reshape(-1, 2) for part in parts)
    for other in others:
        outline = _joined(outline, other)
    return outline


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one outline around both: from the nearest vertex of the first to that of the second and back."""
    apart = ((first[:, None] - second[None]) ** 2).sum(-1)
    here, there = np.unravel_index(int(apart.argmin()), apart.shape)
    around = np.roll(second, -int(there), axis=0)
    return np.concatenate((first[: here + 1], around, around[:1], first[here:]))
