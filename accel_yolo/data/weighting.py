"""Which images an epoch shows more often than others: its order as a weighted draw. Pure.

The draw is a function of (weights, seed, epoch), so positions, partners of mosaics and the shares of processes are what
they always are; only which image lies at a position changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from accel_yolo.data.order import Stream, generator


class LabelTable(Protocol):
    """The labels of a split, one row each, in the order of the images."""

    @property
    def labels(self) -> np.ndarray:
        """[m, 5]: class, and a box that does not matter here."""
        ...

    @property
    def label_starts(self) -> np.ndarray:
        """[n + 1] int: the labels of image i are rows label_starts[i] to label_starts[i + 1]."""
        ...


@dataclass(frozen=True, eq=False)
class WeightedDraw:
    """How the order of an epoch is drawn; as many positions as there are images.

    Attributes:
        weights: float64 [n], at least one of them above 0.
        even: each image comes as often as its share of the positions says, rounded up or down; otherwise every position
            is drawn independently of the others, with replacement.
    """

    weights: np.ndarray
    even: bool

    def order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 [n], read-only because it is shared between callers."""
        return _drawn(self, seed, epoch)


@lru_cache(maxsize=4)
def _drawn(draw: WeightedDraw, seed: int, epoch: int) -> np.ndarray:
    rng, count = generator(seed, epoch, 0, Stream.WEIGHTED_ORDER), len(draw.weights)
    # Added up one by one, so that no way of summing faster can change a bit.
    edges = np.cumsum(draw.weights, dtype=np.float64)
    # Even is systematic sampling: one random offset, then equal steps. Equal weights give a permutation.
    places = rng.random() + np.arange(count) if draw.even else count * rng.random(count)
    # The last image that can be drawn ends at the last edge; rounding must not lead past it.
    last = int(np.flatnonzero(draw.weights)[-1])
    order = np.minimum(np.searchsorted(edges, places * (edges[-1] / count), side="right"), last)
    if draw.even:
        order = rng.permutation(order)
    order.setflags(write=False)
    return order


def by_average_precision(table: LabelTable, class_ap: Sequence[float]) -> WeightedDraw:
    """Return the draw of `--image-weights`: images of rare classes that are detected badly come more often.

    The weight of a class is (1 - AP)^2 over the number of its objects, that of an image the sum over its objects, so an
    image without any is never drawn. Where every weight is 0, all images have the same.

    Args:
        table: the labels.
        class_ap: AP at IoU 0.50 to 0.95 of every class, 0..1.
    """
    classes, images = _classes_and_images(table)
    objects = np.bincount(classes, minlength=len(class_ap)).clip(min=1)
    per_class = (1 - np.asarray(class_ap, dtype=np.float64)) ** 2 / objects
    weights = np.bincount(images, weights=per_class[classes], minlength=len(table.label_starts) - 1)
    return WeightedDraw(weights if weights.any() else np.ones(len(weights)), even=False)


def by_repeat_factor(table: LabelTable, threshold: float) -> WeightedDraw:
    """Return the draw of `--class-balanced`: the repeat factors of Gupta et al. 2019, "LVIS", section 5.

    The factor of a class is max(1, sqrt(threshold / share of the images that show it)), that of an image the largest of
    its classes, 1 without objects. Factors become shares of an epoch that stays as long as it is.

    Args:
        table: the labels.
        threshold: share of the images below which a class is shown more often, 0..1.
    """
    classes, images = _classes_and_images(table)
    count = len(table.label_starts) - 1
    kinds = int(classes.max(initial=-1)) + 1
    pairs = np.unique(images * max(kinds, 1) + classes)
    shown_in = np.bincount(pairs % max(kinds, 1), minlength=kinds)
    factors = np.sqrt(threshold * count / shown_in.clip(min=1)).clip(min=1)
    weights = np.ones(count)
    np.maximum.at(weights, images, factors[classes])
    return WeightedDraw(weights, even=True)


def _classes_and_images(table: LabelTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the class and the image of every label, int64 [m] each."""
    images = np.repeat(np.arange(len(table.label_starts) - 1), np.diff(table.label_starts))
    return table.labels[:, 0].astype(np.int64), images
