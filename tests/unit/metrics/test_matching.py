"""Which detections count as correct."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.boxes import iou_matrix
from accel_yolo.metrics.matching import IOU_THRESHOLDS, match


@pytest.mark.parametrize("case", [0, 1, 2])
def test_recorded_matrices_are_reproduced_exactly(case: int, recorded: Callable[[str], Path]) -> None:
    with np.load(recorded("matching.npz")) as numbers:
        found = match(torch.from_numpy(numbers[f"{case}/detections"]), torch.from_numpy(numbers[f"{case}/labels"]))
        np.testing.assert_array_equal(found.numpy(), numbers[f"{case}/correct"])


def test_five_detections_by_hand() -> None:
    detections = torch.tensor(
        [
            [0, 0, 10, 10, 0.9, 0],
            [1, 1, 11, 11, 0.8, 0],
            [0, 0, 10, 8, 0.7, 0],
            [50, 50, 60, 60, 0.6, 1],
            [50, 50, 60, 59, 0.5, 0],
        ]
    )
    labels = torch.tensor([[0, 0, 0, 10, 10], [0, 2, 2, 12, 12], [1, 50, 50, 60, 60]], dtype=torch.float32)
    assert match(detections, labels).sum(dim=1).tolist() == [10, 4, 0, 10, 0]
    assert match(detections, labels)[1].tolist() == [True] * 4 + [False] * 6


def test_a_label_is_found_once_by_the_most_confident_of_its_claimants() -> None:
    better_box_later = torch.tensor([[0, 0, 10, 8.5, 0.9, 0], [0, 0, 10, 10, 0.8, 0]])
    found = match(better_box_later, torch.tensor([[0.0, 0, 0, 10, 10]]))
    assert found[0].tolist() == [True] * 8 + [False] * 2
    # Where the first does not reach the threshold, the second does.
    assert found[1].tolist() == [False] * 8 + [True] * 2


def test_neither_labels_nor_detections_are_needed() -> None:
    one, none = torch.zeros(1, 6), torch.zeros(0, 6)
    label = torch.zeros(1, 5)
    assert match(one, label[:0]).tolist() == [[False] * 10]
    assert match(none, label).shape == (0, 10)


def test_thresholds_run_from_half_in_steps_of_a_twentieth() -> None:
    assert IOU_THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def by_the_definition(detections: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """The rule as lists of pairs: sort by IoU, first pair of each detection, then first of each label."""
    iou = iou_matrix(labels[:, 1:], detections[:, :4])
    correct = np.zeros((len(detections), 10), dtype=bool)
    for column, threshold in enumerate(torch.linspace(0.5, 0.95, 10)):
        pairs = [
            (float(iou[i, j]), i, j)
            for i in range(len(labels))
            for j in range(len(detections))
            if iou[i, j] >= threshold and labels[i, 0] == detections[j, 5]
        ]
        first_of_detection: dict[int, int] = {}
        for _, i, j in sorted(pairs, reverse=True):
            first_of_detection.setdefault(j, i)
        first_of_label: dict[int, int] = {}
        for j, i in sorted(first_of_detection.items()):
            first_of_label.setdefault(i, j)
        correct[list(first_of_label.values()), column] = True
    return correct


@pytest.mark.parametrize("seed", range(20))
def test_crowded_scenes_follow_the_definition(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    corner = torch.rand(8, 2, generator=draw) * 30
    labels = torch.cat((torch.randint(0, 2, (8, 1), generator=draw).float(), corner, corner + 20), dim=1)
    near = labels[torch.randint(0, 8, (25,), generator=draw)]
    boxes = near[:, 1:] + torch.randn(25, 4, generator=draw) * 2
    confidence = torch.rand(25, 1, generator=draw).sort(dim=0, descending=True).values
    detections = torch.cat((boxes, confidence, near[:, :1]), dim=1)
    np.testing.assert_array_equal(match(detections, labels).numpy(), by_the_definition(detections, labels))
