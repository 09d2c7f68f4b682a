"""Training samples by key, without pixels: plan and labels. What workers do when a device renders; needs no torch."""

from __future__ import annotations

import numpy as np

from accel_yolo.data.keyed_plans import Key, KeyedPlans
from accel_yolo.data.labels import labels_for
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.plan_tables import SampleRow, sample_row
from accel_yolo.data.split_index import SplitIndex


class PlannedSamples:
    """Training samples by key, as numbers: what to show, and where the objects are.

    Args:
        index: the split.
        source: what plans are made from.
        seed: the seed of the run.
    """

    colour = False
    """Colours are left to the network's input, where they cost no pass of their own."""

    unit = 1
    """Positions of an image."""

    def __init__(self, index: SplitIndex, source: PlanSource, seed: int) -> None:
        self.index, self.source = index, source
        self._plans = KeyedPlans(index, source, seed)

    def out_hw_at(self, position: int) -> tuple[int, int]:
        """Return the (height, width) in px of the sample at a position."""
        return self.source.out_hw_at(position)

    def annotated(self, key: Key) -> dict[str, list[list[float]]]:
        """Return the files that are seen in a sample, each with the rows of its labels; see `TrainSamples`."""
        return self.index.annotated(self._plans.images_of(key))

    def render(self, key: Key, into: np.ndarray) -> tuple[np.ndarray, SampleRow]:
        """Return labels float32 [k, 5] and the numbers of a key; no pixel is touched here."""
        plan = self._plans.plan(key)
        return labels_for(plan, self.index), sample_row(plan)
