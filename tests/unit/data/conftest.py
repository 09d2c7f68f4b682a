"""Images whose objects can be found again in the pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from accel_yolo.data.images import ALL_ROWS
from accel_yolo.letterbox import FILL, resized_hw

COLOURS = list(product((0, 255), repeat=3))


class Pictures:
    """Eight grey images with one solid rectangle each, of the class and in the colour of the image's number.

    It is also their index (`labels_of`, `polygons_of`) and their loader (`load`).
    """

    def __init__(self, imgsz: int, seed: int = 0, outlined: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.imgsz, self.outlined = imgsz, outlined
        self.sizes_hw = rng.integers(imgsz // 2, imgsz * 2, size=(len(COLOURS), 2))
        self.rectangles = [self._rectangle(rng, self.loaded_hw(index)) for index in range(len(COLOURS))]

    @staticmethod
    def _rectangle(rng: np.random.Generator, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
        top, left = (int(rng.integers(0, side // 2)) for side in size_hw)
        height, width = (int(rng.integers(side // 4, side // 2)) for side in size_hw)
        return left, top, left + width, top + height

    def __len__(self) -> int:
        return len(COLOURS)

    def loaded_hw(self, index: int) -> tuple[int, int]:
        height, width = self.sizes_hw[index].tolist()
        return resized_hw((height, width), self.imgsz)

    def load(self, index: int, rows: slice = ALL_ROWS) -> np.ndarray:
        image = np.full((*self.loaded_hw(index), 3), FILL, dtype=np.uint8)
        x1, y1, x2, y2 = self.rectangles[index]
        image[y1:y2, x1:x2] = COLOURS[index]
        image.setflags(write=False)
        return image[rows]

    def labels_of(self, index: int) -> np.ndarray:
        height, width = self.loaded_hw(index)
        x1, y1, x2, y2 = self.rectangles[index]
        row = (index, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        return np.array([row], dtype=np.float32)

    def polygons_of(self, index: int) -> list[np.ndarray]:
        if not self.outlined:
            return [np.zeros((0, 2), dtype=np.float32)]
        height, width = self.loaded_hw(index)
        x1, y1, x2, y2 = self.rectangles[index]
        corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], dtype=np.float32)
        return [corners / np.array((width, height), dtype=np.float32)]

    @staticmethod
    def found_xyxy(pixels: np.ndarray, index: int) -> tuple[int, int, int, int] | None:
        """Return where the colour of an image appears: corners in px, the far ones exclusive; None if nowhere."""
        colour = np.array(COLOURS[index])
        near = (np.abs(pixels.astype(int) - colour) < np.abs(FILL - colour) / 2).all(-1)
        if not near.any():
            return None
        (top, bottom), (left, right) = (np.flatnonzero(near.any(axis))[[0, -1]].tolist() for axis in (1, 0))
        return left, top, right + 1, bottom + 1


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., Pictures]:
    """Return the maker of images with one rectangle each: `make_pictures(imgsz, seed=0, outlined=False)`."""
    return Pictures
