"""Two copies of a data set, compared image by image without sending the images: three numbers for each of them."""

from __future__ import annotations

import enum
import hashlib
import os
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.split_index import SplitIndex, relative_paths

NAME, CONTENT, LABELS = 0, 1, 2
"""Columns of a table of fingerprints."""


class Kind(enum.Enum):
    """In what two copies of an image differ."""

    MISSING = "only the first copy has it"
    EXTRA = "only the second copy has it"
    CONTENT = "the image files differ"
    LABELS = "the labels differ"


@dataclass(frozen=True)
class ImageDifference:
    """One image in which two copies of a split differ.

    Attributes:
        kind: what differs.
        row: its place in the first copy, -1 where that lacks it.
        other_row: its place in the second copy, likewise.
    """

    kind: Kind
    row: int
    other_row: int


def fingerprints(index: SplitIndex, root: str) -> np.ndarray:
    """Return [n, 3] uint64: for each image a digest of its path below `root`, of its file and of its labels."""
    table = np.empty((len(index), 3), np.uint64)
    table[:, NAME] = [_key(os.fsencode(path)) for path in relative_paths(index.paths, root)]
    table[:, CONTENT] = index.content_keys
    table[:, LABELS] = [_key(_labels_as_bytes(index, image)) for image in range(len(index))]
    return table


def image_differences(first: np.ndarray, second: np.ndarray) -> list[ImageDifference]:
    """Return the images in which two tables of fingerprints differ: in the order of the first, its extras last."""
    places = {int(name): row for row, name in enumerate(second[:, NAME])}
    found: list[ImageDifference] = []
    for row, (name, content, labels) in enumerate(first.tolist()):
        other = places.pop(name, -1)
        if other < 0:
            found.append(ImageDifference(Kind.MISSING, row, -1))
        elif content != second[other, CONTENT]:
            found.append(ImageDifference(Kind.CONTENT, row, other))
        elif labels != second[other, LABELS]:
            found.append(ImageDifference(Kind.LABELS, row, other))
    return found + [ImageDifference(Kind.EXTRA, -1, row) for row in places.values()]


def _key(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def _labels_as_bytes(index: SplitIndex, image: int) -> bytes:
    """Return size, boxes and outlines of an image; the lengths keep one outline from running into the next."""
    polygons = index.polygons_of(image)
    lengths = np.array([len(polygon) for polygon in polygons], np.int64)
    parts = (index.sizes_hw[image], index.labels_of(image), lengths, *polygons)
    return b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
