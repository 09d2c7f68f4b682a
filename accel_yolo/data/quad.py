"""`--quad`: four samples in a row become one image of twice the size. Needs no torch."""

from __future__ import annotations

import cv2
import numpy as np

from accel_yolo.config.consistency import QUAD
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.order import Stream, generator
from accel_yolo.data.samples import NO_GAINS, TrainSamples

UNIT = QUAD
"""Positions of a unit."""

ALONE = 0.5
"""Probability that a unit shows its first sample only, twice as large."""

QUADRANTS = ((0, 0), (1, 0), (0, 1), (1, 1))
"""(row, column) of each sample of a unit: the second one lies below the first."""


class QuadSamples:
    """Images of four samples each, by the key of a unit: its `position` counts units.

    Unit u is the positions 4u to 4u + 3. What it shows is drawn from its first position, so it does not matter who
    renders it; units are never split.

    Args:
        samples: finished samples, colours included: each has its own.
    """

    unit, colour = UNIT, True

    def __init__(self, samples: TrainSamples) -> None:
        assert samples.colour, "a device changes the colours of whole images only"
        self.samples, self.source = samples, samples.source

    def out_hw_at(self, unit: int) -> tuple[int, int]:
        """Return the (height, width) in px of a unit."""
        height, width = self.samples.out_hw_at(unit * UNIT)
        return 2 * height, 2 * width

    def render(self, key: Key, into: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Write the pixels of a unit into uint8 [2H, 2W, 3]; return labels float32 [k, 5] and gains of 1."""
        first, *others = self._keys(key)
        height, width = (side // 2 for side in into.shape[:2])
        sample = np.empty((height, width, 3), dtype=np.uint8)
        if not others:
            labels, _ = self.samples.render(first, sample)
            cv2.resize(sample, (2 * width, 2 * height), dst=into, interpolation=cv2.INTER_LINEAR)
            return labels, NO_GAINS
        tables = []
        for part, (row, column) in zip((first, *others), QUADRANTS, strict=True):
            labels, _ = self.samples.render(part, sample)
            into[row * height : (row + 1) * height, column * width : (column + 1) * width] = sample
            offset = np.array([0, column / 2, row / 2, 0, 0], dtype=np.float32)
            tables.append(labels * np.array([1, 0.5, 0.5, 0.5, 0.5], dtype=np.float32) + offset)
        return np.concatenate(tables), NO_GAINS

    def shown(self, key: Key) -> list[str]:
        """Return the files that are seen in a unit, the one that lies at its first position first."""
        return list(self.annotated(key))

    def annotated(self, key: Key) -> dict[str, list[list[float]]]:
        """Return the same files, each with the rows of its labels; see `TrainSamples`."""
        return {path: rows for part in self._keys(key) for path, rows in self.samples.annotated(part).items()}

    def _keys(self, key: Key) -> list[Key]:
        """Return the keys of the samples that a unit shows: one, or four."""
        first = key.position * UNIT
        alone = generator(self.samples.seed, key.epoch, first, Stream.QUAD).random() < ALONE
        return [key._replace(position=first + number) for number in range(1 if alone else UNIT)]
