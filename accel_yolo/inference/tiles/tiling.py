"""Which tiles a large image is cut into; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_yolo.config.predict_schema import MOST_OVERLAP
from accel_yolo.errors import ConfigError

TILES_AT_ONCE = 4


SMALLEST_SIDE = 32
"""Side of the smallest tiles, px."""


@dataclass(frozen=True)
class Tiling:
    """How large images are cut.

    Attributes:
        side: side of the square tiles, px of the image.
        overlap: least share of a tile that it has in common with its neighbour, 0 to `MOST_OVERLAP`.
        whole: look at the whole image too, shrunk, so that objects larger than a tile are found.
        batch: tiles of one pass of the network.

    Raises:
        ConfigError: a value out of range.
    """

    side: int = 640
    overlap: float = 0.2
    whole: bool = True
    batch: int = TILES_AT_ONCE

    def __post_init__(self) -> None:
        if self.side < SMALLEST_SIDE:
            remedy = f"give a side of {SMALLEST_SIDE} px or more, such as 640"
            raise ConfigError("a tile so small shows nothing", "--tile", self.side, remedy)
        if not 0 <= self.overlap <= MOST_OVERLAP:
            remedy = f"give a share of the tile from 0 to {MOST_OVERLAP}"
            raise ConfigError("wrong overlap of tiles", "--overlap", self.overlap, remedy)
        if self.batch < 1:
            raise ConfigError("no tile would be looked at", "the batch of tiles", self.batch, "give 1 or more")


def planned_tiles(source_hw: tuple[int, int], tiling: Tiling) -> NDArray[np.int64]:
    """Return the tiles of an image, [T, 4] corners x1, y1, x2, y2 in px of it, row by row.

    Every pixel lies in a tile, neighbours share at least `overlap` of a tile, and no tile leaves the image: instead of
    a last one that sticks out, all are spread evenly. A side shorter than a tile is not cut; an image that fits into a
    tile is one tile, itself.
    """
    (tops, height), (lefts, width) = (_spread(side, tiling) for side in source_hw)
    return np.array([(x, y, x + width, y + height) for y in tops for x in lefts], dtype=np.int64)


def _spread(length: int, tiling: Tiling) -> tuple[list[int], int]:
    """Return where the tiles of one axis begin, and how long each is."""
    if length <= tiling.side:
        return [0], length
    # The shared part is rounded up, so that it is never less than what was asked for; a step is at least one pixel.
    step = max(1, tiling.side - math.ceil(tiling.overlap * tiling.side - 1e-9))
    free = length - tiling.side
    gaps = math.ceil(free / step)
    return [place * free // gaps for place in range(gaps + 1)], tiling.side
