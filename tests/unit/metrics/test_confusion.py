"""What objects are taken for, and what is wrong in which image."""

from __future__ import annotations

import numpy as np
import pytest

from accel_yolo.metrics.confusion import Confusion, confusion
from accel_yolo.metrics.mistakes import mistakes, worst_images

DETECTIONS = np.array(
    [
        [0, 0, 0, 10, 10, 0.9, 0],
        [0, 1, 1, 11, 11, 0.8, 0],
        [0, 0, 0, 10, 8, 0.7, 0],
        [0, 50, 50, 60, 60, 0.6, 1],
        [0, 50, 50, 60, 59, 0.5, 0],
    ]
)
LABELS = np.array([[0, 0, 0, 0, 10, 10], [0, 0, 2, 2, 12, 12], [0, 1, 50, 50, 60, 60]], dtype=np.float64)
FAR = np.array([[0, 200, 200, 210, 210, 0.9, 1]])
NONE, NO_LABELS = DETECTIONS[:0], LABELS[:0]


def counts_of(detections: np.ndarray, labels: np.ndarray, images: int = 1, classes: int = 2) -> list[list[int]]:
    return confusion(detections, labels, images, classes).counts.tolist()


def test_recorded_counts_are_reproduced() -> None:
    assert counts_of(DETECTIONS, LABELS) == [[2, 0, 2], [0, 1, 0], [0, 0, 0]]


def test_a_detection_of_nothing_counts_where_nothing_was_found_right_and_where_nothing_is() -> None:
    # The reference counts the missed labels only; its row and ours are the same.
    assert counts_of(FAR, LABELS) == [[0, 0, 0], [0, 0, 1], [2, 1, 0]]
    assert counts_of(FAR, NO_LABELS) == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_images_are_kept_apart() -> None:
    second = np.concatenate((DETECTIONS, FAR + [1, 0, 0, 0, 0, 0, 0]))
    labels = np.concatenate((LABELS, [[2, 1, 0, 0, 10, 10]]))
    assert counts_of(second, labels, images=3) == [[2, 0, 2], [0, 1, 1], [0, 1, 0]]


def test_confidence_and_overlap_must_be_exceeded() -> None:
    at_the_threshold = np.array([[0, 0, 0, 10, 10, 0.25, 0]])
    assert counts_of(at_the_threshold, LABELS[:1]) == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    little = np.array([[0, 0, 0, 10, 4.4, 0.9, 0]])
    assert counts_of(little, LABELS[:1]) == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    enough = np.array([[0, 0, 0, 10, 4.6, 0.9, 0]])
    assert counts_of(enough, LABELS[:1]) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_closest_claimant_gets_the_label_whatever_its_class() -> None:
    confident_but_loose = np.array([[0, 0, 0, 10, 8, 0.9, 0], [0, 0, 0, 10, 10, 0.3, 1]])
    assert counts_of(confident_but_loose, LABELS[:1]) == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def by_the_definition(detections: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The rule as lists of pairs: sort by IoU, first pair of each detection, sort again, first of each label."""
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)

    def iou(one: np.ndarray, other: np.ndarray) -> float:
        width, height = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
        inter = max(width, 0) * max(height, 0)
        return inter / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inter)

    for image in np.unique(np.concatenate((detections[:, 0], labels[:, 0]))):
        found = detections[(detections[:, 0] == image) & (detections[:, 5] > 0.25)]
        true = labels[labels[:, 0] == image]
        pairs = [(iou(f[1:5], t[2:]), i, j) for i, f in enumerate(found) for j, t in enumerate(true)]
        of_detection: dict[int, tuple[float, int]] = {}
        for overlap, i, j in sorted(pairs, reverse=True):
            if overlap > 0.45:
                of_detection.setdefault(i, (overlap, j))
        of_label: dict[int, int] = {}
        for i, (_, j) in sorted(of_detection.items(), key=lambda item: -item[1][0]):
            of_label.setdefault(j, i)
        for j, t in enumerate(true):
            counts[int(found[of_label[j], 6]) if j in of_label else classes, int(t[1])] += 1
        for i, f in enumerate(found):
            counts[int(f[6]), classes] += i not in of_label.values()
    return counts


@pytest.mark.parametrize("seed", range(5))
def test_crowded_scenes_follow_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.sort(rng.integers(0, 6, 40))
    corner = rng.uniform(0, 40, (40, 2))
    labels = np.column_stack((image, rng.integers(0, 3, 40), corner, corner + 20)).astype(np.float64)
    near = labels[np.sort(rng.integers(0, 40, 120))]
    boxes = near[:, 2:] + rng.normal(0, 3, (120, 4))
    detections = np.column_stack((near[:, 0], boxes, rng.random(120), rng.integers(0, 3, 120)))
    detections = detections[np.lexsort((-detections[:, 5], detections[:, 0]))]
    np.testing.assert_array_equal(confusion(detections, labels, 6, 3).counts, by_the_definition(detections, labels, 3))


def test_columns_are_shares_of_the_true_objects() -> None:
    shares = confusion(DETECTIONS, LABELS, 1, 2).shares
    np.testing.assert_allclose(shares, [[1, 0, 1], [0, 1, 0], [0, 0, 0]], atol=1e-8)


def test_what_is_confused_most_comes_first() -> None:
    matrix = Confusion(np.array([[9, 4, 0, 7], [0, 9, 6, 0], [0, 0, 9, 0], [5, 5, 5, 0]]))
    assert matrix.most_confused(5) == [(2, 1, 6), (1, 0, 4)]
    assert matrix.most_confused(1) == [(2, 1, 6)]


def test_mistakes_are_missed_labels_and_false_detections_of_their_class() -> None:
    (image,) = mistakes(DETECTIONS, LABELS, 1, 0.0)
    assert image.label_of.tolist() == [0, 1, -1, 2, -1]
    assert (image.missed, image.false, image.confused) == (0, 2, 0)
    assert image.score == pytest.approx(0.7 + 0.5)
    (image,) = mistakes(DETECTIONS, LABELS, 1, 0.85)
    assert image.found.tolist() == [True, False, False] and image.score == 2


def test_an_object_under_another_name_is_missed_false_and_confused() -> None:
    (image,) = mistakes(DETECTIONS[4:], LABELS, 1, 0.0)
    assert image.taken_for.tolist() == [2]
    assert (image.missed, image.false, image.confused) == (3, 1, 1)


def test_the_worst_images_come_first_and_those_without_a_mistake_not_at_all() -> None:
    detections = np.concatenate((DETECTIONS[:2], FAR + [2, 0, 0, 0, 0, 0, 0], FAR + [4, 0, 0, 0, 0, 0, 0]))
    labels = np.concatenate((LABELS[:2], [[3, 1, 0, 0, 10, 10]]))
    everything = list(mistakes(detections, labels, 5, 0.0))
    assert [each.pair.image for each in worst_images(everything, 9)] == [3, 2, 4]
    assert [each.pair.image for each in worst_images(everything, 2)] == [3, 2]
    assert worst_images(mistakes(NONE, NO_LABELS, 4, 0.0), 3) == []


def test_what_counts_as_found_is_what_average_precision_counts_as_correct() -> None:
    import torch

    from accel_yolo.metrics.matching import match

    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 40, (30, 2))
    labels = np.column_stack((np.zeros(30), rng.integers(0, 3, 30), corner, corner + 20))
    near = labels[rng.integers(0, 30, 90)]
    confidence = np.sort(rng.random(90))[::-1]
    detections = np.column_stack((np.zeros(90), near[:, 2:] + rng.normal(0, 3, (90, 4)), confidence, near[:, 1]))
    (image,) = mistakes(detections, labels, 1, 0.0)
    correct = match(torch.from_numpy(detections[:, 1:]), torch.from_numpy(labels[:, 1:]))[:, 0]
    assert (image.label_of >= 0).tolist() == correct.tolist()
    assert 10 < correct.sum() < 30
