"""COCO's segmentations as one outline each: parts of an object are joined where they are nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Buffer

_POLYGONS = msgspec.json.Decoder(list[list[float]])
_LEAST_COORDINATES = 6


def outlines_of(segmentations: Sequence[Buffer], size_hw: tuple[int, int]) -> list[np.ndarray]:
    """Return the outline of each segmentation, [p, 2] float32 x, y (0..1); p = 0 where it has none.

    Run lengths (crowds, and masks that some tools write) have no outline: the object keeps its box.

    Args:
        segmentations: JSON texts.
        size_hw: (height, width) of the image that they are in, px.
    """
    # All of an image at once: a data set has a million of them.
    coordinates = [_coordinates(each) for each in segmentations]
    points = np.array([value for each in coordinates for value in each], np.float64).reshape(-1, 2)
    outlines = np.clip(points / (size_hw[1], size_hw[0]), 0, 1).astype(np.float32)
    ends = np.cumsum([len(each) // 2 for each in coordinates])
    return np.split(outlines, ends[:-1]) if len(ends) else []


def _coordinates(segmentation: Buffer) -> Sequence[float]:
    """Return x, y, x, y, ... in px."""
    try:
        found = _POLYGONS.decode(segmentation)
    except (ValueError, RecursionError):
        return ()
    parts = [part for part in found if len(part) >= _LEAST_COORDINATES and len(part) % 2 == 0]
    if len(parts) < 2:
        return parts[0] if parts else ()
    outline, *others = (np.array(part, np.float64).reshape(-1, 2) for part in parts)
    for other in others:
        outline = _joined(outline, other)
    return outline.ravel().tolist()


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one outline around both: from the nearest vertex of the first to that of the second and back."""
    apart = ((first[:, None] - second[None]) ** 2).sum(-1)
    here, there = np.unravel_index(int(apart.argmin()), apart.shape)
    around = np.roll(second, -int(there), axis=0)
    return np.concatenate((first[: here + 1], around, around[:1], first[here:]))
