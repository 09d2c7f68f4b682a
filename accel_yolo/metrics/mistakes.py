"""What a detector gets wrong in each image, and which images are the worst."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_yolo.metrics.pairing import ImagePair, by_image, paired_in_class, paired_labels

IOU_THRES = 0.5


@dataclass(frozen=True, eq=False)
class Mistakes:
    """One image at one confidence.

    Attributes:
        pair: the image, its labels and its detections above the confidence.
        label_of: [n] the label of its class that each detection found, -1 for a false one.
        taken_for: [n] the missed label that a false detection lies on (it has another class), -1 for none.
        found: [m] whether each label was found.
    """

    pair: ImagePair
    label_of: NDArray[np.int64]
    taken_for: NDArray[np.int64]
    found: NDArray[np.bool_]

    @property
    def missed(self) -> int:
        """Labels that no detection of their class found."""
        return int((~self.found).sum())

    @property
    def false(self) -> int:
        """Detections that found no label of their class."""
        return int((self.label_of < 0).sum())

    @property
    def confused(self) -> int:
        """False detections that lie on a missed label: an object found under another name."""
        return int((self.taken_for >= 0).sum())

    @property
    def score(self) -> float:
        """How bad: each missed label counts 1, each false detection its confidence."""
        return self.missed + float(self.pair.detections[self.label_of < 0, 4].sum())


def mistakes(
    detections: NDArray[np.float64], labels: NDArray[np.float64], images: int, confidence: float
) -> Iterable[Mistakes]:
    """Yield what is wrong in each image, at IoU 0.5.

    Args:
        detections: [n, 7] float, image, x1, y1, x2, y2 in px, confidence, class; image by image, most confident first.
        labels: [m, 6] float, image, class, x1, y1, x2, y2; image by image.
        images: how many there are.
        confidence: detections must be more confident than this; the one of the best F1 tells what a user would see.
    """
    for pair in by_image(detections, labels, images, confidence):
        label_of = paired_in_class(pair, IOU_THRES)
        found = np.isin(np.arange(len(pair.labels)), label_of)
        false, missed = np.flatnonzero(label_of < 0), np.flatnonzero(~found)
        left = paired_labels(pair.iou[np.ix_(false, missed)], IOU_THRES)
        taken_for = np.full(len(label_of), -1, dtype=np.int64)
        taken_for[false[left >= 0]] = missed[left[left >= 0]]
        yield Mistakes(pair, label_of, taken_for, found)


def worst_images(everything: Iterable[Mistakes], most: int) -> list[Mistakes]:
    """Return the images with the highest scores, the worst first, of equals the first; those without a mistake never.

    Args:
        everything: see `mistakes`.
        most: how many at most.
    """
    wrong = [each for each in everything if each.score > 0]
    return sorted(wrong, key=lambda each: (-each.score, each.pair.image))[:most]
