"""The six shapes of the demo data set, drawn as soft-edged masks; only the outline tells the class."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
"""Class names; the position is the class number."""

_SUPERSAMPLING = 4
_FRACTION_BITS = 6
_ROUND = np.linspace(0, 2 * np.pi, 64, endpoint=False)


def shape_mask(kind: int, side_px: float, rng: np.random.Generator) -> np.ndarray:
    """Return the coverage of one shape, [h, w] uint8 (255 inside), cut to its extents.

    Turned by any angle, squeezed by up to a fifth, its proportions varied: none of these leads to another class.

    Args:
        kind: position in `SHAPES`.
        side_px: longer side of the result, px.
        rng: the only source of chance.
    """
    angle = rng.uniform(0, 2 * np.pi)
    contours = [_turned(contour, angle) for contour in _DRAWN[kind](rng)]
    squeeze = np.array([1.0, rng.uniform(0.8, 1.0)])
    if rng.random() < 0.5:
        squeeze = squeeze[::-1]
    contours = [contour * squeeze for contour in contours]
    low = np.min([contour.min(0) for contour in contours], axis=0)
    high = np.max([contour.max(0) for contour in contours], axis=0)
    scale = side_px / (high - low).max()
    width, height = np.maximum(np.ceil((high - low) * scale), 4).astype(int)
    fine = np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING), np.uint8)
    unit = scale * _SUPERSAMPLING * (1 << _FRACTION_BITS)
    points = [np.rint((contour - low) * unit).astype(np.int32) for contour in contours]
    cv2.fillPoly(fine, points, 255, shift=_FRACTION_BITS)
    return cv2.resize(fine, (int(width), int(height)), interpolation=cv2.INTER_AREA)


def _turned(contour: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return contour @ np.array([[cosine, sine], [-sine, cosine]])


def _polar(angles: np.ndarray, radii: np.ndarray | float) -> np.ndarray:
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _corners(count: int) -> np.ndarray:
    return np.arange(count) * (2 * np.pi / count)


def _circle(rng: np.random.Generator) -> list[np.ndarray]:
    return [_polar(_ROUND, 1.0)]


def _ring(rng: np.random.Generator) -> list[np.ndarray]:
    # Two outlines filled by the even-odd rule leave a hole.
    return [_polar(_ROUND, 1.0), _polar(_ROUND, rng.uniform(0.45, 0.65))]


def _square(rng: np.random.Generator) -> list[np.ndarray]:
    return [_polar(_corners(4), 1.0)]


def _triangle(rng: np.random.Generator) -> list[np.ndarray]:
    return [_polar(_corners(3) + rng.uniform(-0.12, 0.12, 3), 1.0)]


def _star(rng: np.random.Generator) -> list[np.ndarray]:
    radii = np.where(np.arange(10) % 2 == 0, 1.0, rng.uniform(0.36, 0.46))
    return [_polar(_corners(10), radii)]


def _cross(rng: np.random.Generator) -> list[np.ndarray]:
    arm = rng.uniform(0.26, 0.36)
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    return [np.concatenate([_turned(quarter, turn) for turn in _corners(4)])]


_DRAWN: tuple[Callable[[np.random.Generator], list[np.ndarray]], ...] = (
    _circle,
    _square,
    _triangle,
    _star,
    _cross,
    _ring,
)
