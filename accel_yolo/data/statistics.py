"""Counts and sizes of what a split holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accel_yolo.data.split_index import SplitIndex

SMALL_PX, LARGE_PX = 32.0, 96.0
"""Sides of the squares that COCO calls the bounds of small and large objects."""


@dataclass(frozen=True)
class ClassStatistics:
    """One class in one split.

    Attributes:
        name: of the class.
        images: images with it.
        objects: of it.
        small, medium, large: share of them below 32², up to and above 96² px.
        median_wh_px: median width and height, px.
    """

    name: str
    images: int
    objects: int
    small: float
    medium: float
    large: float
    median_wh_px: tuple[float, float]


@dataclass(frozen=True)
class SplitStatistics:
    """One split.

    Attributes:
        images, labelled, objects: counts.
        outlines: objects with an outline.
        most_objects: in one image.
        smallest_hw, median_hw, largest_hw: of the images, px, side by side each for itself.
        same_content: images whose file is a copy of another one's.
        classes: all classes, those without objects too.
    """

    images: int
    labelled: int
    objects: int
    outlines: int
    most_objects: int
    smallest_hw: tuple[int, int]
    median_hw: tuple[int, int]
    largest_hw: tuple[int, int]
    same_content: int
    classes: tuple[ClassStatistics, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def sizes_px(index: SplitIndex, imgsz: int) -> np.ndarray:
    """Return [m, 2] float64, width and height of every object in px of images whose longer side is `imgsz`."""
    image_of = np.repeat(np.arange(len(index)), np.diff(index.label_starts))
    sizes_wh = index.sizes_hw[image_of][:, ::-1].astype(np.float64)
    longest = sizes_wh.max(1, keepdims=True) if len(sizes_wh) else np.ones((0, 1))
    return index.labels[:, 3:5] * sizes_wh * (imgsz / longest)


def statistics(index: SplitIndex, names: Mapping[int, str], imgsz: int) -> SplitStatistics:
    """Return counts and sizes of a split.

    Args:
        index: the split.
        names: class number to name.
        imgsz: objects are measured in images whose longer side is this many px.
    """
    per_image = np.diff(index.label_starts)
    image_of = np.repeat(np.arange(len(index)), per_image)
    wh_px = sizes_px(index, imgsz)
    classes = index.labels[:, 0].astype(np.int64)
    return SplitStatistics(
        images=len(index),
        labelled=int((per_image > 0).sum()),
        objects=len(classes),
        outlines=int((np.diff(index.polygon_starts) > 0).sum()),
        most_objects=int(per_image.max(initial=0)),
        smallest_hw=_pair(index.sizes_hw.min(0)),
        median_hw=_pair(np.median(index.sizes_hw, axis=0)),
        largest_hw=_pair(index.sizes_hw.max(0)),
        same_content=len(index) - len(np.unique(index.content_keys)),
        classes=tuple(
            _of_class(name, wh_px[classes == number], image_of[classes == number]) for number, name in names.items()
        ),
    )


def _of_class(name: str, wh_px: np.ndarray, image_of: np.ndarray) -> ClassStatistics:
    if not len(wh_px):
        return ClassStatistics(name, 0, 0, 0.0, 0.0, 0.0, (0.0, 0.0))
    areas = wh_px.prod(1)
    small, large = float((areas < SMALL_PX**2).mean()), float((areas > LARGE_PX**2).mean())
    width, height = (round(float(value), 1) for value in np.median(wh_px, axis=0))
    images = len(np.unique(image_of))
    return ClassStatistics(name, images, len(wh_px), small, 1 - small - large, large, (width, height))


def _pair(values: np.ndarray) -> tuple[int, int]:
    return int(values[0]), int(values[1])
