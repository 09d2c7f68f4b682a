"""The plan of a key: what a worker needs besides the index to know what a sample shows."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from accel_yolo.data.order import index_at
from accel_yolo.data.plan import PlanSource, SamplePlan, plan_sample
from accel_yolo.data.weighting import LabelTable, by_average_precision


class Key(NamedTuple):
    """Names a training sample.

    Attributes:
        epoch, position: when it comes.
        class_ap: AP of every class by which the order of the epoch is drawn; () for the order of the source.
    """

    epoch: int
    position: int
    class_ap: tuple[float, ...] = ()


class KeyedPlans:
    """Plans of training samples by key; the same key gives the same plan in any process.

    Args:
        index: the split; its labels decide orders that are drawn by average precision.
        source: what plans are made from.
        seed: the seed of the run.
    """

    def __init__(self, index: LabelTable, source: PlanSource, seed: int) -> None:
        self.index, self.source, self.seed = index, source, seed
        self._drawn: tuple[tuple[float, ...], PlanSource] = ((), source)

    def plan(self, key: Key) -> SamplePlan:
        """Return the plan of a sample."""
        return plan_sample(self._source_of(key.class_ap), self.seed, key.epoch, key.position)

    def image_of(self, key: Key) -> int:
        """Return the number of the image that lies at the position of a key, whatever is shown beside it."""
        return index_at(self._source_of(key.class_ap).order(self.seed, key.epoch), key.position)

    def images_of(self, key: Key) -> list[int]:
        """Return the numbers of the images that are seen in a sample, the one that lies at its position first."""
        own = self.image_of(key)
        return [own, *dict.fromkeys(image for image in self.plan(key).indices() if image != own)]

    def _source_of(self, class_ap: tuple[float, ...]) -> PlanSource:
        """Return what the plans of an epoch are made from; its order is drawn once."""
        if self._drawn[0] != class_ap:
            draw = by_average_precision(self.index, class_ap) if class_ap else self.source.draw
            self._drawn = (class_ap, replace(self.source, draw=draw))
        return self._drawn[1]
