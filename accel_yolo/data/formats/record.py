"""The one record that every label format is read into: the objects of one image, and the rules they obey."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

NO_POLYGON = np.zeros((0, 2), np.float32)
LEAST_POINTS = 3
"""Points of an outline; what has fewer is none."""

ROUNDING = 1e-6
"""Coordinates may lie so far outside 0..1, by the arithmetic of whoever wrote them; they are then put to the edge."""


@dataclass(frozen=True)
class LabelRules:
    """How labels are read.

    Attributes:
        names: class names in order; a class number must be below their count.
        single_cls: every class becomes 0; its number (or its name) is then not looked at.
        format: "yolo", "voc" or "coco".
        lenient: what is wrong costs the object, not the image: for checks that list everything.
    """

    names: tuple[str, ...]
    single_cls: bool
    format: str = "yolo"
    lenient: bool = False

    @property
    def nc(self) -> float:
        """What a class number must be below."""
        return float("inf") if self.single_cls else len(self.names)


@dataclass(frozen=True)
class Labels:
    """The objects of one image.

    Attributes:
        rows: [k, 5] float32: class, cx, cy, w, h, normalised to the image as displayed (EXIF applied).
        polygons: k arrays [p, 2] float32 of x, y, normalised; p = 0 for an object given as a box.
        duplicates_removed: rows left out because an equal one exists.
    """

    rows: np.ndarray
    polygons: tuple[np.ndarray, ...]
    duplicates_removed: int = 0


NO_LABELS = Labels(np.zeros((0, 5), np.float32), ())


@dataclass(frozen=True)
class LabelledObject:
    """One object: class, cx, cy, w, h as float32 [5], and its outline [p, 2] float32, normalised."""

    row: np.ndarray
    polygon: np.ndarray = field(default_factory=lambda: NO_POLYGON)


class BrokenRule(Exception):
    """An object breaks a rule; the value that does is a text.

    `mended` is the object with its box cut at the edges of the image, if that leaves anything of it.
    """

    def __init__(self, rule: str, value: object, mended: LabelledObject | None = None) -> None:
        super().__init__(rule)
        self.rule, self.value, self.mended = rule, str(value), mended


def labels_of(objects: list[LabelledObject]) -> Labels:
    """Return the distinct objects: in file order when all are, else sorted by column as the reference leaves them."""
    if not objects:
        return NO_LABELS
    return distinct(np.stack([each.row for each in objects]), [each.polygon for each in objects])


def distinct(rows: np.ndarray, polygons: list[np.ndarray]) -> Labels:
    """Return the distinct rows of [k, 5] with their outlines; see `labels_of`."""
    if len(set(map(tuple, rows.tolist()))) == len(rows):
        return Labels(rows, tuple(polygons))
    _, first = np.unique(rows, axis=0, return_index=True)
    return Labels(rows[first], tuple(polygons[i] for i in first), len(rows) - len(first))


def object_of_corners(
    class_id: int, box_xywh: tuple[float, float, float, float], size_hw: tuple[int, int]
) -> LabelledObject:
    """Return an object given by its top left corner and size, in px of an image of `size_hw`.

    Raises:
        BrokenRule: a side is negative, or it leaves the image by more than the pixel that tools are often off.
    """
    left, top, width, height = box_xywh
    if not (width >= 0 and height >= 0):
        raise BrokenRule("a box must not have a negative side", _shown(box_xywh))
    across, down = size_hw[1], size_hw[0]
    row = (left + width / 2) / across, (top + height / 2) / down, width / across, height / down
    if all(-ROUNDING <= value <= 1 + ROUNDING for value in row):
        return LabelledObject(np.array([class_id, *(min(max(value, 0.0), 1.0) for value in row)], np.float32))
    mended = cut_to_image(class_id, row)
    if mended is None:
        raise BrokenRule("the box lies outside the image", _shown(box_xywh))
    if min(left, top) < -1 or left + width > across + 1 or top + height > down + 1:
        rule = f"the box must lie in the image of {across} x {down} px"
        raise BrokenRule(rule, _shown(box_xywh), mended)
    return mended


def cut_to_image(class_id: float, box: Sequence[float]) -> LabelledObject | None:
    """Return the part inside the image of a box cx, cy, w, h (0..1), or None if there is none."""
    cx, cy, width, height = box
    left, right = max(cx - width / 2, 0.0), min(cx + width / 2, 1.0)
    top, bottom = max(cy - height / 2, 0.0), min(cy + height / 2, 1.0)
    if not (left < right and top < bottom):  # nothing of it is inside
        return None
    cut = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    return LabelledObject(np.array([class_id, *cut], np.float32))


def outline_of_px(points_px: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return an outline [p, 2] in px as float32 0..1 of an image of `size_hw`, put to its edges where it leaves it."""
    height, width = size_hw
    return np.clip(points_px / (width, height), 0, 1).astype(np.float32)


def _shown(box_xywh: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in box_xywh) + " (x y width height)"
