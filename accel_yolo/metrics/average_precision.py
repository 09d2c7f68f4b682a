"""Precision, recall, F1 and average precision per class."""

# n detections, m labels, C classes present in the labels, T IoU thresholds (10), P points of a curve (1000)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_yolo.metrics.fitness import fitness_of

CURVE_POINTS = 1000
_EPS = 1e-16
_SMOOTHING = 0.1
_RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Metrics over the classes that occur in the labels.

    Attributes:
        classes: [C] int64, ascending.
        labels: [C] int64, how many labels each class has.
        ap: [C, T] float64, average precision in 0..1 at IoU 0.50, 0.55, ..., 0.95.
        precision, recall, f1: [C] float64 at IoU 0.5 and `best_confidence`.
        true_positives, false_positives: [C] int64 there.
        best_confidence: where the smoothed mean F1 curve is highest.
        confidence: [P] float64, 0..1, the abscissa of the curves.
        precision_curve, recall_curve, f1_curve: [C, P] float64 at IoU 0.5.
        precision_at_recall: [C, 101] float64 at IoU 0.5, the precision envelope at recall 0, 0.01, ..., 1.
    """

    classes: NDArray[np.int64]
    labels: NDArray[np.int64]
    ap: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    best_confidence: float
    confidence: NDArray[np.float64]
    precision_curve: NDArray[np.float64]
    recall_curve: NDArray[np.float64]
    f1_curve: NDArray[np.float64]
    precision_at_recall: NDArray[np.float64]

    @property
    def mean_precision(self) -> float:
        """Mean precision over classes at `best_confidence`, 0..1."""
        return _mean(self.precision)

    @property
    def mean_recall(self) -> float:
        """Mean recall over classes at `best_confidence`, 0..1."""
        return _mean(self.recall)

    @property
    def map50(self) -> float:
        """Mean over classes of the average precision at IoU 0.5, 0..1."""
        return _mean(self.ap[:, 0])

    @property
    def map50_95(self) -> float:
        """Mean over classes and the ten IoU thresholds of the average precision, 0..1."""
        return _mean(self.ap.mean(axis=1)) if len(self.ap) else 0.0

    @property
    def fitness(self) -> float:
        """The one number by which weights are compared: a tenth of mAP50 and nine tenths of mAP50-95."""
        return fitness_of(self.map50, self.map50_95)

    def of_classes(self, count: int) -> tuple[float, ...]:
        """Return the AP at IoU 0.50 to 0.95 of every class, 0..1; a class without labels gets the mean of the others.

        Args:
            count: number of classes.
        """
        found = dict(zip(self.classes.tolist(), self.ap.mean(axis=1).tolist(), strict=True))
        return tuple(found.get(number, self.map50_95) for number in range(count))


def average_precision(
    correct: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    predicted_class: NDArray[np.number],
    target_class: NDArray[np.number],
) -> AveragePrecision:
    """Return the metrics of all detections of a data set.

    Equal confidences count in the order given: pass detections in image order and the result does not depend on how
    many processes produced them. If no detection is correct, every metric is 0.

    Args:
        correct: [n, T] bool, see `accel_yolo.metrics.matching.match`.
        confidence: [n] float, 0..1.
        predicted_class: [n] class numbers.
        target_class: [m] class numbers of all labels.
    """
    classes, labels = np.unique(np.asarray(target_class).astype(np.int64), return_counts=True)
    confidence = np.asarray(confidence, dtype=np.float64)
    order = np.argsort(-confidence, kind="stable")
    correct, confidence = np.asarray(correct, dtype=bool)[order], confidence[order]
    predicted_class = np.asarray(predicted_class).astype(np.int64)[order]

    points = np.linspace(0, 1, CURVE_POINTS)
    ap, at_recall = np.zeros((len(classes), correct.shape[1])), np.zeros((len(classes), len(_RECALL_POINTS)))
    curves = np.zeros((2, len(classes), CURVE_POINTS))
    for row, (one_class, n_labels) in enumerate(zip(classes, labels, strict=True)):
        mine = predicted_class == one_class
        # Without this a data set with nothing correct would not score exactly 0: the envelope starts at precision 1.
        if not correct.any() or not mine.any():
            continue
        recall, precision = _running(correct[mine], int(n_labels))
        areas = [area_under_curve(r, p) for r, p in zip(recall.T, precision.T, strict=True)]
        ap[row] = [area for area, _ in areas]
        at_recall[row] = areas[0][1]
        for curve, values, above in ((0, precision, 1), (1, recall, 0)):
            # np.interp wants rising abscissae, hence the minus signs.
            curves[curve, row] = np.interp(-points, -confidence[mine], values[:, 0], left=above)

    precision_curve, recall_curve = curves
    f1_curve = 2 * precision_curve * recall_curve / (precision_curve + recall_curve + _EPS)
    best = int(smooth(f1_curve.mean(axis=0)).argmax()) if len(classes) else 0
    precision, recall = precision_curve[:, best], recall_curve[:, best]
    true_positives = (recall * labels).round()
    return AveragePrecision(
        classes=classes,
        labels=labels,
        ap=ap,
        precision=precision,
        recall=recall,
        f1=f1_curve[:, best],
        true_positives=true_positives.astype(np.int64),
        false_positives=(true_positives / (precision + _EPS) - true_positives).round().astype(np.int64),
        best_confidence=float(points[best]),
        confidence=points,
        precision_curve=precision_curve,
        recall_curve=recall_curve,
        f1_curve=f1_curve,
        precision_at_recall=at_recall,
    )


def _running(correct: NDArray[np.bool_], n_labels: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision [k, T] after each of the detections of one class, in order of falling confidence."""
    hits = correct.cumsum(axis=0)
    return hits / (n_labels + _EPS), hits / np.arange(1, len(hits) + 1)[:, None]


def area_under_curve(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return the average precision (0..1) and the precision envelope [101] at recall 0, 0.01, ..., 1.

    The curve starts at (0, 1) and ends at (1, 0); precision is replaced by its running maximum from the right, read
    at 101 points by linear interpolation and integrated by the trapezoid rule. Hence a perfect class scores 0.995,
    and beyond the last recall the curve falls linearly instead of at once (COCO's own number is lower:
    `accel_yolo.metrics.coco`).

    Args:
        recall: [k] float64, rising, after each detection in order of falling confidence.
        precision: [k] float64, the same.
    """
    abscissa = np.concatenate(([0.0], recall, [1.0]))
    envelope = np.maximum.accumulate(np.concatenate(([1.0], precision, [0.0]))[::-1])[::-1]
    sampled = np.interp(_RECALL_POINTS, abscissa, envelope)
    return float(((sampled[1:] + sampled[:-1]) / 2 * np.diff(_RECALL_POINTS)).sum()), sampled


def smooth(values: NDArray[np.float64], fraction: float = _SMOOTHING) -> NDArray[np.float64]:
    """Return `values` [P] averaged over a window of `fraction` of their number (odd), ends padded with end values."""
    width = round(len(values) * fraction * 2) // 2 + 1
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
