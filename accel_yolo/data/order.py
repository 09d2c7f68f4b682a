"""Which sample comes when, and from which random numbers. Pure: no rank, worker or machine enters.

An epoch is a permutation of the index. A *position* is a place in it; batch k of a global batch of B images holds the
positions kB to kB + B, and positions past the end wrap around, so that the last batch is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np

from accel_yolo.errors import ConfigError


class Stream(IntEnum):
    """What a generator is for. One stream more or less never shifts the numbers of another."""

    ORDER = 0
    MOSAIC = 1
    GEOMETRY = 2
    COLOUR = 3
    FLIP = 4
    MIXUP = 5
    MIXUP_GEOMETRY = 6
    COPY_PASTE = 7
    MIXUP_COPY_PASTE = 8
    MULTI_SCALE = 9
    WEIGHTED_ORDER = 10
    QUAD = 11
    USER = 12
    PROBE = 13
    FRACTION = 14
    SEARCH = 15


def generator(seed: int, epoch: int, position: int, stream: Stream) -> np.random.Generator:
    """Return the counter-based generator of one decision; equal keys give equal numbers on any process.

    Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".

    Args:
        seed: the seed of the run, >= 0.
        epoch: >= 0.
        position: place in the order of the epoch (or the step, for draws made once per step), >= 0.
        stream: what the numbers are for.
    """
    # A key for each epoch; position and stream count in the high words, so blocks of 2^64 numbers never meet.
    return np.random.Generator(np.random.Philox(key=_philox_key(seed, epoch), counter=(0, 0, int(stream), position)))


@lru_cache(maxsize=16)
def _philox_key(seed: int, epoch: int) -> np.ndarray:
    key = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    key.setflags(write=False)
    return key


@lru_cache(maxsize=4)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of an epoch: a permutation, int64 [count], read-only because it is shared between callers."""
    order = generator(seed, epoch, 0, Stream.ORDER).permutation(count)
    order.setflags(write=False)
    return order


def steps_per_epoch(count: int, batch: int) -> int:
    """Return the number of global batches that cover `count` images; the last one is filled from the start."""
    return -(-count // batch)


def index_at(order: np.ndarray, position: int) -> int:
    """Return the image at a position of an order; positions past the end wrap around."""
    return int(order[position % len(order)])


def share(batch: int, rank: int, world: int, group: int = 1) -> range:
    """Return the places of a global batch that process `rank` of `world` works on.

    Shares are contiguous, differ by at most one group, and together are the whole batch: 64 images on 3 processes are
    21, 21 and 22.

    Args:
        batch: images of the global batch.
        rank: number of the process.
        world: number of processes.
        group: images that stay together (the groups of `--bn-group`); the batch is a multiple of it.

    Raises:
        ConfigError: fewer groups than processes, or a batch that is no multiple of `group`.
    """
    if batch % group:
        raise ConfigError("the batch is no multiple of the BatchNorm group", "--batch", batch, f"choose n x {group}")
    groups = batch // group
    if groups < world:
        whole = "images" if group == 1 else f"groups of {group} images"
        remedy = f"use --batch {world * group} or more, or fewer processes"
        remedy += "" if group == 1 else ", or smaller groups (--bn-group; of a bit-exact run --micro-batch)"
        raise ConfigError(f"fewer {whole} in a batch than the {world} processes", "--batch", batch, remedy)
    return range(rank * groups // world * group, (rank + 1) * groups // world * group)


def micro_batches(share: range, most: int, group: int = 1, least_parts: int = 1) -> list[range]:
    """Return the share of a process in pieces of nearly equal size for one forward pass each.

    Args:
        share: places of the global batch.
        most: most images of a piece; 0 for no limit. A multiple of `group`.
        group: images that stay together; the share is a multiple of it.
        least_parts: make at least so many pieces.
    """
    groups = len(share) // group
    parts = max(-(-groups // (most // group)) if most else 1, least_parts)
    edges = [share.start + part * groups // parts * group for part in range(parts + 1)]
    return [range(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


@dataclass(frozen=True, eq=False)
class RectLayout:
    """Order and input sizes of rectangular training: images of like shape share a batch and little is padding.

    Attributes:
        batch: images of the global batch.
        order: int64 [n], images by rising height / width; the same in every epoch.
        shapes_hw: int64 [steps, 2], network input of each batch, px.
    """

    batch: int
    order: np.ndarray
    shapes_hw: np.ndarray

    @classmethod
    def plan(
        cls, sizes_hw: np.ndarray, batch: int, *, imgsz: int, stride: int = 32, pad_strides: float = 0.0
    ) -> RectLayout:
        """Return the layout for images of `sizes_hw` [n, 2] px, whose longer side becomes `imgsz` px.

        Args:
            sizes_hw: [n, 2], original (height, width) of every image, px.
            batch: images of the global batch.
            imgsz: longer side of the inputs, px.
            stride: sides are rounded up to a multiple of it, px.
            pad_strides: added to both sides before rounding, in strides.
        """
        aspect = sizes_hw[:, 0] / sizes_hw[:, 1]
        # Stable: equal shapes keep the order of the index whatever NumPy sorts with.
        order = np.argsort(aspect, kind="stable")
        shapes = []
        for start in range(0, len(order), batch):
            flattest, tallest = aspect[order[start]], aspect[order[min(start + batch, len(order)) - 1]]
            fraction_hw = (1.0, 1.0)
            if tallest < 1:
                fraction_hw = (tallest, 1.0)
            elif flattest > 1:
                fraction_hw = (1.0, 1 / flattest)
            shapes.append(np.ceil(np.array(fraction_hw) * imgsz / stride + pad_strides) * stride)
        return cls(batch, order, np.array(shapes, dtype=np.int64).reshape(-1, 2))

    def shape_at(self, position: int) -> tuple[int, int]:
        """Return the (height, width) in px of the batch that holds `position`; positions are those of one epoch."""
        height, width = self.shapes_hw[position // self.batch].tolist()
        return height, width
