"""Which detection is which label, whatever their classes: what a confusion matrix and a list of mistakes need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from accel_yolo.boxes import iou_matrix

_FORBIDDEN = -1.0


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Detections and labels of one image.

    Attributes:
        image: its number.
        detections: [n, 6] float64, x1, y1, x2, y2 in px of the image, confidence, class; most confident first.
        labels: [m, 5] float64, class, x1, y1, x2, y2.
        iou: [n, m] float64.
    """

    image: int
    detections: NDArray[np.float64]
    labels: NDArray[np.float64]
    iou: NDArray[np.float64]


def by_image(
    detections: NDArray[np.float64], labels: NDArray[np.float64], images: int, conf_thres: float
) -> Iterator[ImagePair]:
    """Yield every image with what was found in it and what is there, also where either is nothing.

    Args:
        detections: [n, 7] float, image, x1, y1, x2, y2, confidence, class; image by image, most confident first.
        labels: [m, 6] float, image, class, x1, y1, x2, y2; image by image.
        images: how many there are.
        conf_thres: detections must be more confident than this.
    """
    confident = detections[detections[:, 5] > conf_thres]
    numbers = np.arange(images + 1)
    from_row, to_row = np.searchsorted(confident[:, 0], numbers), np.searchsorted(labels[:, 0], numbers)
    for image in range(images):
        found = confident[from_row[image] : from_row[image + 1], 1:]
        true = labels[to_row[image] : to_row[image + 1], 1:]
        overlaps = iou_matrix(torch.from_numpy(found[:, :4].copy()), torch.from_numpy(true[:, 1:].copy()))
        yield ImagePair(image, found, true, overlaps.numpy())


def paired_labels(iou: NDArray[np.float64], iou_thres: float) -> NDArray[np.int64]:
    """Return which label each detection is, -1 for none: [n].

    Each detection claims the label that it overlaps most (of equals the last), and the claimant that overlaps a label
    most gets it (of equals the most confident).

    Args:
        iou: [n, m], detections in rows, labels in columns; n or m may be 0.
        iou_thres: a claim needs a greater overlap.
    """
    if not iou.size:
        return np.full(len(iou), -1, dtype=np.int64)
    overlap = iou.max(axis=1)
    claimants = np.flatnonzero(overlap > iou_thres)
    return _granted(iou, claimants[np.argsort(-overlap[claimants], kind="stable")])


def paired_in_class(pair: ImagePair, iou_thres: float) -> NDArray[np.int64]:
    """Return which label of its own class each detection is, -1 for none: [n].

    The rule is that of average precision (`accel_yolo.metrics.matching`): of the claimants the most confident one
    gets the label.

    Args:
        pair: detections and labels.
        iou_thres: a claim needs at least this overlap.
    """
    if not pair.iou.size:
        return np.full(len(pair.iou), -1, dtype=np.int64)
    same = pair.detections[:, 5:6] == pair.labels[:, 0]
    iou = np.where(same, pair.iou, _FORBIDDEN)
    return _granted(iou, np.flatnonzero(iou.max(axis=1) >= iou_thres))


def _granted(iou: NDArray[np.float64], claimants: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label of each detection [n], -1 for none; of rival claimants the first in the list gets it."""
    wanted = iou.shape[1] - 1 - iou[:, ::-1].argmax(axis=1)  # of equals the last
    _, winners = np.unique(wanted[claimants], return_index=True)
    chosen = np.full(len(iou), -1, dtype=np.int64)
    winning = claimants[winners]
    chosen[winning] = wanted[winning]
    return chosen
