"""Random perspective: its eight draws, its matrix, and what it does to points, boxes and polygons. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accel_yolo.config.schema import Hyp

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
"""Homogeneous transform of pixel coordinates, rows of a 3x3 matrix; plain data, so that plans compare and travel."""

IDENTITY: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

OUTLINE_POINTS = 1000
"""Points a polygon is resampled to before it is transformed and cut by the output's border."""


@dataclass(frozen=True)
class Draws:
    """The eight numbers of a random perspective.

    Attributes:
        perspective_xy: bottom row of the perspective matrix, 1/px.
        angle_deg: rotation.
        scale: zoom factor.
        shear_xy_deg: shears along x and y.
        shift_xy: place of the input's centre in the output, as a fraction of the output.
    """

    perspective_xy: tuple[float, float]
    angle_deg: float
    scale: float
    shear_xy_deg: tuple[float, float]
    shift_xy: tuple[float, float]

    @classmethod
    def draw(cls, uniform: Callable[[float, float], float], hyp: Hyp) -> Draws:
        """Return the draws of one image; `uniform(low, high)` is called eight times, in the order of the fields."""

        def pair(low: float, high: float) -> tuple[float, float]:
            return float(uniform(low, high)), float(uniform(low, high))

        return cls(
            perspective_xy=pair(-hyp.perspective, hyp.perspective),
            angle_deg=float(uniform(-hyp.degrees, hyp.degrees)),
            scale=float(uniform(1 - hyp.scale, 1 + hyp.scale)),
            shear_xy_deg=pair(-hyp.shear, hyp.shear),
            shift_xy=pair(0.5 - hyp.translate, 0.5 + hyp.translate),
        )

    def matrix(self, canvas_hw: tuple[int, int], out_hw: tuple[int, int]) -> Matrix:
        """Return M = T Sh R P C from canvas to output pixels: centre, perspective, rotate and zoom, shear, shift."""
        centre = np.eye(3)
        centre[:2, 2] = -canvas_hw[1] / 2, -canvas_hw[0] / 2
        perspective = np.eye(3)
        perspective[2, :2] = self.perspective_xy
        angle = math.radians(self.angle_deg)
        cosine, sine = self.scale * math.cos(angle), self.scale * math.sin(angle)
        rotation = np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        shear = np.eye(3)
        shear[0, 1], shear[1, 0] = (math.tan(math.radians(degrees)) for degrees in self.shear_xy_deg)
        shift = np.eye(3)
        shift[:2, 2] = self.shift_xy[0] * out_hw[1], self.shift_xy[1] * out_hw[0]
        first, second, third = (shift @ shear @ rotation @ perspective @ centre).tolist()
        return tuple(first), tuple(second), tuple(third)


def zoom_and_shift(matrix: Matrix) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return (zoom_xy, shift_xy) of a matrix that only zooms and shifts, else None."""
    (zoom_x, shear_x, shift_x), (shear_y, zoom_y, shift_y), _ = matrix
    is_plain = is_affine(matrix) and shear_x == 0 and shear_y == 0 and zoom_x > 0 and zoom_y > 0
    return ((zoom_x, zoom_y), (shift_x, shift_y)) if is_plain else None


def is_affine(matrix: Matrix) -> bool:
    """Return whether parallels stay parallel, so that no division is needed."""
    return matrix[2] == (0.0, 0.0, 1.0)


def project_points(points: np.ndarray, matrix: Matrix) -> np.ndarray:
    """Return points float64 [..., 2] (x, y) in output px of points [..., 2] in canvas px."""
    rows = np.array(matrix)
    projected = points @ rows[:2, :2].T + rows[:2, 2]
    if is_affine(matrix):
        return projected
    # A point on the horizon has no image: its infinity or NaN fails the candidate filter below.
    with np.errstate(divide="ignore", invalid="ignore"):
        return projected / (points @ rows[2, :2] + rows[2, 2])[..., None]


def project_boxes(boxes_xyxy: np.ndarray, matrix: Matrix, out_hw: tuple[int, int]) -> np.ndarray:
    """Return the extents float64 [k, 4] of the moved corners of boxes [k, 4] in canvas px, clipped to the output."""
    corners = project_points(boxes_xyxy[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 4, 2), matrix)
    limit = out_hw[1], out_hw[0]
    return np.concatenate((corners.min(1).clip(0, limit), corners.max(1).clip(0, limit)), axis=1)


def resampled(polygons: Sequence[np.ndarray], points: int = OUTLINE_POINTS) -> np.ndarray:
    """Return `points` points along each closed outline, evenly spaced by vertex number, as planes of x and y.

    Args:
        polygons: k outlines [v, 2], v >= 1 vertices each, any frame.
        points: how many.

    Returns:
        float64 [2, k, points], same frame: planes, because arithmetic on pairs is several times slower.
    """
    counts = np.array([len(polygon) for polygon in polygons])
    closed = np.concatenate([part for polygon in polygons for part in (polygon, polygon[:1])])
    planes = np.ascontiguousarray(closed.T, dtype=np.float64)
    places = counts[:, None] * np.linspace(0, 1, points)
    whole = np.minimum(places.astype(np.int64), counts[:, None] - 1)
    rows = whole + (np.cumsum(counts + 1) - counts - 1)[:, None]
    before = np.take(planes, rows, axis=1)
    return before + (places - whole) * (np.take(planes, rows + 1, axis=1) - before)


def project_polygons(polygons: Sequence[np.ndarray], matrix: Matrix, out_hw: tuple[int, int]) -> np.ndarray:
    """Return the extents float64 [k, 4] (x1, y1, x2, y2) of what the output shows of each outline, zeros if nothing.

    Args:
        polygons: k outlines [v, 2] in canvas px.
        matrix: canvas to output.
        out_hw: size of the output, px.
    """
    outlines = resampled(polygons)
    x, y = project_points(outlines.reshape(2, -1).T, matrix).T.reshape(outlines.shape)
    inside = (x >= 0) & (x <= out_hw[1]) & (y >= 0) & (y <= out_hw[0])
    lows = [np.where(inside, plane, np.inf).min(1) for plane in (x, y)]
    highs = [np.where(inside, plane, -np.inf).max(1) for plane in (x, y)]
    seen = inside.any(axis=-1)
    return np.where(seen[:, None], np.stack(lows + highs, axis=1), 0.0)


def still_objects(
    before_xyxy: np.ndarray, after_xyxy: np.ndarray, min_area_ratio: np.ndarray | float = 0.10
) -> np.ndarray:
    """Return bool [k]: which boxes are still worth learning after a transform cut them.

    Args:
        before_xyxy: [k, 4] px, before, already multiplied by the zoom.
        after_xyxy: [k, 4] px, after, clipped to the output.
        min_area_ratio: share of the area that must be left, [k] or one for all.

    Returns:
        True where both sides are longer than 2 px, more than the share is left, and no side is 100 times the other;
        all strict, so that NaN is dropped.
    """
    with np.errstate(invalid="ignore"):
        old = before_xyxy[:, 2:] - before_xyxy[:, :2]
        width, height = (after_xyxy[:, 2:] - after_xyxy[:, :2]).T
        share_left = width * height / (old[:, 0] * old[:, 1] + 1e-16)
        aspect = np.maximum(width / (height + 1e-16), height / (width + 1e-16))
        return (width > 2) & (height > 2) & (share_left > min_area_ratio) & (aspect < 100)
