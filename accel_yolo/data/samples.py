"""Training samples by key: plan, pixels, labels. What workers run; it does without torch, so they start fast."""

from __future__ import annotations

import numpy as np

from accel_yolo.data.images import ALL_ROWS, Load
from accel_yolo.data.keyed_plans import Key, KeyedPlans
from accel_yolo.data.labels import labels_for
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.render_cpu import render
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.user_augmentation import UserAugmentation

NO_GAINS = (1.0, 1.0, 1.0)


class TrainSamples:
    """Training samples by key; the same key gives the same bytes in any process.

    Args:
        index: the split.
        source: what plans are made from.
        seed: the seed of the run.
        load: number of an image -> RGB uint8 [h, w, 3], its longer side at the image size of the plans.
        colour: change colours here; otherwise the gains travel with the batch.
        augment: what the user does to a sample when all else is done; needs `colour`.
    """

    unit = 1
    """Positions of an image."""

    def __init__(
        self,
        index: SplitIndex,
        source: PlanSource,
        seed: int,
        load: Load,
        *,
        colour: bool = True,
        augment: UserAugmentation | None = None,
    ) -> None:
        assert colour or augment is None, "the user sees finished samples"
        self.index, self.source, self.seed, self.colour = index, source, seed, colour
        self._load, self._plans, self._augment = load, KeyedPlans(index, source, seed), augment
        self._held: dict[int, tuple[tuple[int, int], dict[int, np.ndarray]]] = {}

    def out_hw_at(self, position: int) -> tuple[int, int]:
        """Return the (height, width) in px of the sample at a position."""
        return self.source.out_hw_at(position)

    def render(self, key: Key, into: np.ndarray) -> tuple[np.ndarray, tuple[float, float, float]]:
        """Write the pixels of a key into uint8 [H, W, 3]; return labels float32 [k, 5] and colour gains."""
        plan = self._plans.plan(key)
        render(plan, self._load_for(key.epoch, key.position), self.index, into, colour=self.colour)
        labels = labels_for(plan, self.index)
        if self._augment is not None:
            shown = self.index.paths[self._plans.image_of(key)]
            what = f"position {key.position} of epoch {key.epoch} ({shown})"
            labels = self._augment.apply(into, labels, (key.epoch, key.position), what)
        return labels, plan.hsv_gains or NO_GAINS

    def shown(self, key: Key) -> list[str]:
        """Return the files that are seen in a sample, the one that lies at its position first."""
        return list(self.annotated(key))

    def annotated(self, key: Key) -> dict[str, list[list[float]]]:
        """Return the same files, each with the rows of its labels: class, cx, cy, w, h (0..1)."""
        return self.index.annotated(self._plans.images_of(key))

    def _load_for(self, epoch: int, position: int) -> Load:
        """Return what loads images for one sample: images of a partner group are kept until its last step."""
        if self.source.groups is None:
            return self._load
        group = self.source.groups.of(position)
        band, key = group.places.start, (epoch, group.steps.start)
        if self._held.get(band, (None,))[0] != key:
            self._held[band] = (key, {})
        kept = self._held[band][1]

        def load(index: int, rows: slice = ALL_ROWS) -> np.ndarray:
            if index not in kept:
                kept[index] = self._load(index)
            return kept[index][rows]

        return load
