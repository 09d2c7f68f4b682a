"""The confusion matrix: what objects of each class are taken for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_yolo.metrics.pairing import by_image, paired_labels

CONF_THRES, IOU_THRES = 0.25, 0.45
_EPS = 1e-9


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of pairs of a predicted and a true class.

    Attributes:
        counts: [C + 1, C + 1] int64, rows predicted, columns true; the last of both is the background: its column
            holds detections of nothing, its row objects that were not found.
    """

    counts: NDArray[np.int64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """[C + 1, C + 1] float64: each column divided by its sum, 0 where it holds nothing."""
        return self.counts / (self.counts.sum(axis=0, keepdims=True) + _EPS)

    def most_confused(self, most: int) -> list[tuple[int, int, int]]:
        """Return (true, predicted, count) of the pairs of different classes that come most often, the most first."""
        apart = self.counts[:-1, :-1].copy()
        np.fill_diagonal(apart, 0)
        order = np.argsort(-apart, axis=None, kind="stable")[:most]
        predicted, true = np.unravel_index(order, apart.shape)
        pairs = zip(true.tolist(), predicted.tolist(), apart[predicted, true].tolist(), strict=True)
        return [pair for pair in pairs if pair[2]]


def confusion(detections: NDArray[np.float64], labels: NDArray[np.float64], images: int, classes: int) -> Confusion:
    """Return the confusion matrix of a split, at confidence 0.25 and IoU 0.45.

    Classes play no part in what counts as the same object: see `paired_labels`. Every detection that is no object
    counts, also in images without labels or where nothing was found right.

    Args:
        detections: [n, 7] float, image, x1, y1, x2, y2 in px, confidence, class; image by image, most confident first.
        labels: [m, 6] float, image, class, x1, y1, x2, y2; image by image.
        images: how many there are.
        classes: C.
    """
    cells = [np.zeros(0, dtype=np.int64)]
    for pair in by_image(detections, labels, images, CONF_THRES):
        chosen = paired_labels(pair.iou, IOU_THRES)
        predicted, true = pair.detections[:, 5].astype(np.int64), pair.labels[:, 0].astype(np.int64)
        missed = np.setdiff1d(np.arange(len(true)), chosen)
        rows = np.concatenate((predicted, np.full(len(missed), classes)))
        found = np.append(true, classes)[chosen]  # -1 is the last one, the background
        cells.append(rows * (classes + 1) + np.concatenate((found, true[missed])))
    counts = np.bincount(np.concatenate(cells), minlength=(classes + 1) * (classes + 1))
    return Confusion(counts.reshape(classes + 1, classes + 1))
