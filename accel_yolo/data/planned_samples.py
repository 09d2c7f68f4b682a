"""Training samples by key, without pixels: plan and labels. What workers do when a device renders; needs no torch."""

from __future__ import annotations

import numpy as np

from accel_yolo.data.labels import Annotations, labels_for
from accel_yolo.data.plan import PlanSource, plan_sample
from accel_yolo.data.plan_tables import SampleRow, sample_row
from accel_yolo.data.samples import Key


class PlannedSamples:
    """Training samples by key, as numbers: what to show, and where the objects are.

    Args:
        annotations: the index of the split.
        source: what plans are made from.
        seed: the seed of the run.
    """

    colour = False
    """Colours are left to the network's input, where they cost no pass of their own."""

    def __init__(self, annotations: Annotations, source: PlanSource, seed: int) -> None:
        self.annotations, self.source, self.seed = annotations, source, seed

    def render(self, key: Key, into: np.ndarray) -> tuple[np.ndarray, SampleRow]:
        """Return labels float32 [k, 5] and the numbers of (epoch, position); no pixel is touched here."""
        epoch, position = key
        plan = plan_sample(self.source, self.seed, epoch, position)
        return labels_for(plan, self.annotations), sample_row(plan)
