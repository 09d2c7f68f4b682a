"""Images of a batch with their boxes on one sheet: what a training sees, what is labelled, what is found.

Whoever draws them needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from accel_yolo.data.images import read_resized
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import escaped
from accel_yolo.inference.output.captioned_sheet import captioned, in_rows
from accel_yolo.inference.output.contact_sheet import labelled_objects
from accel_yolo.inference.output.drawing import DrawOptions, draw_boxes
from accel_yolo.inference.results import Detection

MOST, COLUMNS = 16, 4
"""Images of a sheet, and side by side."""
LEAST_CONFIDENCE = 0.25
"""Detections are drawn above this, as in the reference and in the confusion matrix."""
TILE_PX, _LEAST_TILE_PX = 480, 320
_LEAST_NAMED_PX = 24
"""Longer side of the boxes that are named: on smaller ones a name would hide more than it says."""


class ShownSamples(Protocol):
    """Training samples by key, finished."""

    def render(self, key: Key, into: np.ndarray, /) -> tuple[np.ndarray, object]:
        """Write the pixels of a key into uint8 [H, W, 3] and return its labels [k, 5], and what else there is."""
        ...

    def out_hw_at(self, position: int, /) -> tuple[int, int]:
        """Return the (height, width) in px of the sample at a position."""
        ...

    def shown(self, key: Key, /) -> list[str]:
        """Return the files that are seen in a sample, the one that lies at its position first."""
        ...


def sample_of(samples: ShownSamples, key: Key) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels of a sample, RGB uint8 [H, W, 3], and its labels, float32 [k, 5]: class, cx, cy, w, h."""
    pixels = np.empty((*samples.out_hw_at(key.position), 3), np.uint8)
    labels, _ = samples.render(key, pixels)
    return pixels, labels


def train_sheet(samples: ShownSamples, keys: Sequence[Key], names: Mapping[int, str]) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: training samples as the network sees them, with their boxes.

    Args:
        samples: what renders them.
        keys: those to show, at least one.
        names: class number to name.

    Raises:
        UserError: an image cannot be read, or the user's augmentation failed.
    """
    longest = max(side for key in keys for side in samples.out_hw_at(key.position))
    tile_px = min(max(longest, _LEAST_TILE_PX), TILE_PX)
    tiles = []
    for key in keys:
        pixels, labels = sample_of(samples, key)
        scale = tile_px / longest
        size = tuple(max(round(side * scale), 1) for side in pixels.shape[1::-1])
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        drawn = _drawn(small, labelled_objects(labels, small.shape[:2], names), confidences=False)
        first, *others = samples.shown(key)
        tiles.append(captioned(drawn, _title(first), f" + {len(others)}" if others else "", tile_px))
    return in_rows(tiles, COLUMNS)


def label_sheet(index: SplitIndex, names: Mapping[int, str]) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: images with what is labelled in them.

    Args:
        index: the images to show, at least one.
        names: class number to name.

    Raises:
        DataError: an image cannot be read.
    """
    tiles = []
    for image, path in enumerate(index.paths):
        pixels = _resized(path)
        found = labelled_objects(index.labels_of(image), pixels.shape[:2], names)
        count = f": {len(found)} labelled" if found else ": no labels"
        tiles.append(captioned(_drawn(pixels, found, confidences=False), _title(path), count, TILE_PX))
    return in_rows(tiles, COLUMNS)


def prediction_sheet(index: SplitIndex, detections: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: images with what was found in them, laid out as `label_sheet` does.

    Args:
        index: the images to show, at least one.
        detections: [n, 7]: image, x1, y1, x2, y2 (px of the original image), confidence, class; most confident first.
        names: class number to name.

    Raises:
        DataError: an image cannot be read.
    """
    tiles = []
    confident = detections[detections[:, 5] > LEAST_CONFIDENCE]
    for image, path in enumerate(index.paths):
        pixels = _resized(path)
        height, width = index.sizes_hw[image].tolist()
        scale = np.tile((pixels.shape[1] / width, pixels.shape[0] / height), 2)
        rows = confident[confident[:, 0] == image]
        table = np.column_stack((rows[:, 1:5] * scale, rows[:, 5:]))
        # The most confident last: they lie on top.
        found = [
            Detection((x1, y1, x2, y2), confidence, int(number), names.get(int(number), str(int(number))))
            for x1, y1, x2, y2, confidence, number in table[::-1].tolist()
        ]
        count = f": {len(found)} found" if found else ": nothing found"
        tiles.append(captioned(_drawn(pixels, found, confidences=True), _title(path), count, TILE_PX))
    return in_rows(tiles, COLUMNS)


def _drawn(pixels: np.ndarray, found: Iterable[Detection], *, confidences: bool) -> Image.Image:
    """Return a picture with boxes; the small ones first and without their names."""
    found = list(found)
    named = [_longer_side(each) >= _LEAST_NAMED_PX for each in found]
    small = [each for each, is_named in zip(found, named, strict=True) if not is_named]
    large = [each for each, is_named in zip(found, named, strict=True) if is_named]
    boxed = draw_boxes(pixels, small, DrawOptions(2, labels=False))
    return Image.fromarray(draw_boxes(boxed, large, DrawOptions(2, confidences=confidences)))


def _longer_side(found: Detection) -> float:
    x1, y1, x2, y2 = found.box_xyxy
    return max(x2 - x1, y2 - y1)


@lru_cache(maxsize=3 * MOST)
def _resized(path: str) -> np.ndarray:
    """Return an image as a tile shows it; those of a run are drawn again and again."""
    return read_resized(path, TILE_PX, augmenting=False)


def _title(path: str) -> str:
    return escaped(Path(path).name)
