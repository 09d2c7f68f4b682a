"""Average precision and the precision, recall and F1 that are reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.metrics.average_precision import AveragePrecision, area_under_curve, average_precision, smooth


def test_recorded_metrics_are_reproduced(recorded: Callable[[str], Path]) -> None:
    with np.load(recorded("average_precision.npz")) as numbers:
        found = average_precision(numbers["tp"], numbers["conf"], numbers["pred_cls"], numbers["target_cls"])
        for name in ("ap", "precision", "recall", "f1"):
            np.testing.assert_allclose(getattr(found, name), numbers[name], atol=1e-6, rtol=0)
        np.testing.assert_array_equal(found.true_positives, numbers["n_tp"])
        np.testing.assert_array_equal(found.false_positives, numbers["n_fp"])
        np.testing.assert_array_equal(found.classes, numbers["classes"])


@pytest.fixture
def ten_detections() -> AveragePrecision:
    confidence = np.array([0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.55, 0.5, 0.3, 0.2])
    predicted = np.array([0, 0, 0, 1, 0, 0, 1, 1, 0, 1])
    loose = np.array([1, 1, 0, 1, 0, 1, 0, 0, 1, 0], dtype=bool)
    tight = np.array([1, 0, 0, 1, 0, 0, 0, 0, 1, 0], dtype=bool)
    return average_precision(np.stack((loose, tight), axis=1), confidence, predicted, np.array([0] * 5 + [1, 1, 2]))


def test_ten_detections_by_hand(ten_detections: AveragePrecision) -> None:
    found = ten_detections
    assert found.classes.tolist() == [0, 1, 2]
    assert found.labels.tolist() == [5, 2, 1]
    np.testing.assert_allclose(found.ap, [[0.7316667, 0.3633333], [0.55875, 0.55875], [0, 0]], atol=5e-8)
    np.testing.assert_allclose(found.precision, [0.6016461, 0.5851852, 0], atol=5e-8)
    np.testing.assert_allclose(found.recall, [0.6049383, 0.5, 0], atol=5e-8)
    np.testing.assert_allclose(found.f1, [0.6032877, 0.5392491, 0], atol=5e-8)
    assert found.true_positives.tolist() == [3, 1, 0]
    assert found.false_positives.tolist() == [2, 1, 0]


def test_means_are_over_the_classes_that_have_labels(ten_detections: AveragePrecision) -> None:
    assert ten_detections.map50 == pytest.approx((0.7316667 + 0.55875) / 3, abs=1e-6)
    assert ten_detections.map50_95 == pytest.approx((0.5475 + 0.55875) / 3, abs=1e-6)
    assert ten_detections.mean_recall == pytest.approx((0.6049383 + 0.5) / 3, abs=1e-6)
    assert ten_detections.mean_precision == pytest.approx((0.6016461 + 0.5851852) / 3, abs=1e-6)


def test_a_class_without_labels_has_the_mean_of_the_others(ten_detections: AveragePrecision) -> None:
    found = ten_detections
    assert found.of_classes(5) == pytest.approx((0.5475, 0.55875, 0.0, found.map50_95, found.map50_95), abs=1e-6)


def test_fitness_is_a_tenth_of_map50_and_nine_tenths_of_map50_95(ten_detections: AveragePrecision) -> None:
    found = ten_detections
    assert found.fitness == pytest.approx(0.1 * found.map50 + 0.9 * found.map50_95)


@pytest.mark.parametrize(
    ("recall", "precision", "expected"),
    [([1.0], [1.0], 0.995), ([0.5], [1.0], 0.75), ([0.25, 0.25, 0.5], [1, 0.5, 2 / 3], 0.5816667)],
)
def test_area_under_known_curves(recall: list[float], precision: list[float], expected: float) -> None:
    area, envelope = area_under_curve(np.array(recall), np.array(precision))
    assert area == pytest.approx(expected, abs=5e-8)
    assert bool((np.diff(envelope) <= 0).all())


def test_nothing_correct_scores_zero_everywhere() -> None:
    found = average_precision(np.zeros((3, 10), bool), np.array([0.9, 0.8, 0.7]), np.zeros(3), np.array([0, 1]))
    assert (found.map50, found.map50_95, found.mean_precision, found.mean_recall, found.fitness) == (0, 0, 0, 0, 0)
    assert found.true_positives.tolist() == [0, 0]


def test_no_detections_and_no_labels_are_allowed() -> None:
    nothing = np.zeros((0, 10), bool), np.zeros(0), np.zeros(0)
    assert average_precision(*nothing, np.array([2, 2])).ap.tolist() == [[0.0] * 10]
    unlabelled = average_precision(np.zeros((1, 10), bool), np.array([0.5]), np.zeros(1), np.zeros(0))
    assert (len(unlabelled.classes), unlabelled.map50, unlabelled.map50_95) == (0, 0, 0)


def test_a_detection_of_a_class_without_labels_changes_no_other_class() -> None:
    correct, labels = np.ones((2, 10), bool), np.array([0, 0])
    alone = average_precision(correct, np.array([0.9, 0.8]), np.zeros(2), labels)
    beside = average_precision(np.vstack((correct, np.zeros((1, 10), bool))), np.array([0.9, 0.8, 0.99]),
                               np.array([0, 0, 7]), labels)  # fmt: skip
    np.testing.assert_array_equal(alone.ap, beside.ap)


def test_equal_confidences_count_in_the_order_given() -> None:
    n = 5000
    rng = np.random.default_rng(0)
    correct = rng.random((n, 10)) < 0.4
    confidence = np.repeat(0.5, n)
    found = average_precision(correct, confidence, np.zeros(n), np.zeros(n))
    slightly_ordered = average_precision(correct, 0.5 - np.arange(n) * 1e-9, np.zeros(n), np.zeros(n))
    np.testing.assert_array_equal(found.ap, slightly_ordered.ap)


def test_curves_start_at_the_last_value_and_end_at_precision_one_recall_zero(ten_detections: AveragePrecision) -> None:
    found = ten_detections
    assert found.precision_curve[:2, -1].tolist() == [1, 1]
    assert found.recall_curve[:2, -1].tolist() == [0, 0]
    assert found.recall_curve[0, 0] == pytest.approx(4 / 5)
    assert found.precision_curve[0, 0] == pytest.approx(4 / 6)
    assert found.f1_curve.shape == (3, len(found.confidence))


def test_smoothing_averages_an_odd_window_and_keeps_constants() -> None:
    np.testing.assert_allclose(smooth(np.full(1000, 0.7)), 0.7)
    spike = smooth(np.eye(1000)[500])
    assert len(spike) == 1000
    assert int((spike > 0.5 / 101).sum()) == 101
