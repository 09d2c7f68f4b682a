"""One image of the demo data set: a textured background with stray strokes, and shapes that may overlap."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from accel_yolo.data.demo_shapes import SHAPES, shape_mask

EMPTY_SHARE = 0.10
MOST_OBJECTS = 8
SMALLEST_SHARE, LARGEST_SHARE = 0.05, 0.60
"""Longer side of an object as a share of the shorter side of the image."""
LEAST_VISIBLE = 0.45
"""An object of which less would be seen is not placed, nor one that would hide another so far."""
LEAST_CONTRAST = 90.0
"""Distance in RGB between the colour of an object and the mean of what lies behind it."""


@dataclass(frozen=True)
class Scene:
    """An image with its objects.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        boxes: [k, 5] float64: class, cx, cy, w, h (0..1), in the order of painting.
    """

    image: np.ndarray
    boxes: np.ndarray


def draw_scene(rng: np.random.Generator) -> Scene:
    """Return one scene; the same state of `rng` gives the same scene (for one version of OpenCV)."""
    shorter, longer = int(rng.integers(208, 289)), int(rng.integers(256, 321))
    hw = (longer, shorter) if rng.random() < 0.25 else (shorter, longer)
    image = _background(hw, rng)
    count = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, MOST_OBJECTS + 1))
    owner = np.full(hw, -1, np.int32)
    areas: list[int] = []
    boxes: list[tuple[float, ...]] = []
    # Large first: a small object in front of a large one stays in sight.
    for share in sorted((_object_share(rng) for _ in range(count)), reverse=True):
        box = _place_object(image, owner, areas, share, rng)
        if box is not None:
            boxes.append(box)
    _add_grain(image, rng)
    return Scene(image, np.array(boxes, np.float64).reshape(-1, 5))


def _object_share(rng: np.random.Generator) -> float:
    """Return a size, spread evenly over the octaves with a little more weight on the large ones."""
    return SMALLEST_SHARE * (LARGEST_SHARE / SMALLEST_SHARE) ** (rng.random() ** 0.65)


def _background(hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field of colours, two sizes of blotches, and strokes that enclose nothing."""
    height, width = hw
    image = np.empty((height, width, 3), np.float32)
    image[:] = _colour(rng, saturation=(0.05, 0.45), value=(0.2, 0.95))
    for cells, light, tint in ((3, 26.0, 10.0), (16, 9.0, 4.0)):
        coarse = rng.normal(0, light, (cells, cells, 1)) + rng.normal(0, tint, (cells, cells, 3))
        image += cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        image += _stripes(hw, float(rng.uniform(3, 9)), rng)[..., None]
    canvas = image.clip(0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(2, 9))):
        _stroke(canvas, rng)
    return canvas


def _colour(rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    """Return a colour, [3] float64 RGB 0..255, of any hue and of a saturation and value within the given bounds."""
    hue, grey, light = rng.uniform(0, 1), 1 - rng.uniform(*saturation), rng.uniform(*value)
    ramp = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return 255 * light * (grey + (1 - grey) * ramp)


def _stripes(hw: tuple[int, int], strength: float, rng: np.random.Generator) -> np.ndarray:
    angle, length, phase = rng.uniform(0, np.pi), rng.uniform(6, 40), rng.uniform(0, 2 * np.pi)
    rows, columns = np.arange(hw[0], dtype=np.float32)[:, None], np.arange(hw[1], dtype=np.float32)[None]
    along = rows * np.float32(np.sin(angle)) + columns * np.float32(np.cos(angle))
    return np.float32(strength) * np.sin(along * np.float32(2 * np.pi / length) + np.float32(phase))


def _stroke(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Draw an open bent line: something with edges that is no object."""
    height, width = canvas.shape[:2]
    start = rng.uniform(0, 1, 2) * np.array([width, height])
    heading, step = rng.uniform(0, 2 * np.pi), rng.uniform(8, 30)
    turns = np.cumsum(rng.normal(0, 0.25, int(rng.integers(3, 9)))) + heading
    path = start + np.cumsum(np.stack([np.cos(turns), np.sin(turns)], axis=1) * step, axis=0)
    colour = _colour(rng, saturation=(0.1, 0.8), value=(0.1, 1.0)).tolist()
    cv2.polylines(canvas, [np.rint(path).astype(np.int32)], False, colour, int(rng.integers(1, 4)), cv2.LINE_AA)


def _place_object(
    image: np.ndarray, owner: np.ndarray, areas: list[int], share: float, rng: np.random.Generator
) -> tuple[float, ...] | None:
    """Paint an object where it hides no other too far; return its box, or None when no place was found.

    Args:
        image: uint8 [H, W, 3], painted on.
        owner: [H, W] int32, which object is seen at a pixel (-1: none); brought up to date.
        areas: px that each object would show alone; extended.
        share: longer side of the object as a share of the shorter side of the image.
        rng: the only source of chance.
    """
    height, width = owner.shape
    kind = int(rng.integers(len(SHAPES)))
    mask = shape_mask(kind, share * min(height, width), rng)
    mask_h, mask_w = mask.shape
    solid = mask > 127
    for _ in range(12):
        top = int(rng.integers(0, height - mask_h + 1))
        left = int(rng.integers(0, width - mask_w + 1))
        window = slice(top, top + mask_h), slice(left, left + mask_w)
        if not _all_stay_visible(owner, window, solid, areas):
            continue
        owner[window][solid] = len(areas)
        areas.append(int(solid.sum()))
        _paint(image[window], mask, rng)
        rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
        y1, y2 = top + int(rows[0]), top + int(rows[-1]) + 1
        x1, x2 = left + int(columns[0]), left + int(columns[-1]) + 1
        return kind, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    return None


def _all_stay_visible(owner: np.ndarray, window: tuple[slice, slice], solid: np.ndarray, areas: list[int]) -> bool:
    if not areas:
        return True
    seen = np.bincount(owner[owner >= 0], minlength=len(areas))
    hidden = np.bincount(owner[window][solid & (owner[window] >= 0)], minlength=len(areas))
    return bool(np.all(seen - hidden >= LEAST_VISIBLE * np.array(areas)))


def _paint(place: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Blend a textured fill of any colour that stands out from what is behind it."""
    behind = place.reshape(-1, 3).mean(0)
    colour = behind
    while np.linalg.norm(colour - behind) < LEAST_CONTRAST:
        colour = _colour(rng, saturation=(0.2, 0.95), value=(0.15, 1.0))
    fill = np.empty((*mask.shape, 3), np.float32)
    fill[:] = colour
    coarse = rng.normal(0, 13, (4, 4, 3)).astype(np.float32)
    fill += cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.35:
        fill += _stripes(mask.shape, float(rng.uniform(8, 22)), rng)[..., None]
    cover = mask[..., None].astype(np.float32) / 255
    place[:] = (place * (1 - cover) + fill.clip(0, 255) * cover + 0.5).astype(np.uint8)


def _add_grain(image: np.ndarray, rng: np.random.Generator) -> None:
    """Add the noise of a sensor, stronger in some images, and now and then blur."""
    if rng.random() < 0.2:
        cv2.GaussianBlur(image, (3, 3), 0, dst=image)
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 9))
    image[:] = (image + noise).clip(0, 255).astype(np.uint8)
