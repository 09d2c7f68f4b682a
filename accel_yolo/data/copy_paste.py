"""Copy-paste: mirrored copies of outlined objects where they hide little (Ghiasi et al. 2021). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.order import Stream, generator

MAX_HIDDEN = 0.30
"""Largest share of any object that a pasted one may cover."""


@dataclass(frozen=True)
class CopyPaste:
    """The decision to copy objects: how many, and the key of the numbers that choose them.

    The plan does not know how many outlines a scene has; with the key, choosing is a function of the outlines alone.

    Attributes:
        share: share of the outlined objects that is tried.
        seed, epoch, position, stream: key of the generator.
    """

    share: float
    seed: int
    epoch: int
    position: int
    stream: Stream

    def chosen(self, boxes_xyxy: np.ndarray, polygons: Sequence[np.ndarray], canvas_width: int) -> list[int]:
        """Return which objects are pasted, mirrored left to right across the canvas, in order of pasting.

        Args:
            boxes_xyxy: [k, 4] canvas px.
            polygons: k outlines [v, 2] in canvas px; only objects that have one can be pasted.
            canvas_width: px.
        """
        outlined = [number for number, polygon in enumerate(polygons) if len(polygon)]
        count = round(self.share * len(outlined))
        if not count:
            return []
        rng = generator(self.seed, self.epoch, self.position, self.stream)
        tried = rng.choice(outlined, size=count, replace=False).tolist()
        present = boxes_xyxy
        pasted = []
        for number in tried:
            copy = mirrored_boxes(boxes_xyxy[number : number + 1], canvas_width)
            # An object that the canvas cut off has nothing left to copy.
            empty = (copy[0, 2:] <= copy[0, :2]).any()
            if not empty and (hidden_share(copy, present) < MAX_HIDDEN).all():
                present = np.concatenate((present, copy))
                pasted.append(number)
        return pasted


def mirrored_boxes(boxes_xyxy: np.ndarray, canvas_width: int) -> np.ndarray:
    """Return boxes [k, 4] of boxes [k, 4] px, mirrored left to right across a canvas of `canvas_width` px."""
    mirrored = boxes_xyxy.copy()
    mirrored[:, [0, 2]] = canvas_width - boxes_xyxy[:, [2, 0]]
    return mirrored


def mirrored_points(points: np.ndarray, canvas_width: int) -> np.ndarray:
    """Return points [v, 2] of points [v, 2] px, mirrored left to right across a canvas of `canvas_width` px."""
    return np.stack((canvas_width - points[:, 0], points[:, 1]), axis=1)


def hidden_share(cover_xyxy: np.ndarray, boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return [k]: the share of each box [k, 4] that the one box [1, 4] covers, 0..1."""
    low, high = np.maximum(cover_xyxy[:, :2], boxes_xyxy[:, :2]), np.minimum(cover_xyxy[:, 2:], boxes_xyxy[:, 2:])
    return (high - low).clip(min=0).prod(1) / ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1) + 1e-7)
