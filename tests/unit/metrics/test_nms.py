"""Non-maximum suppression keeps the rows that the reference keeps, and never depends on a clock or on luck."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou
from torchvision.ops import nms as torchvision_nms

from accel_yolo.errors import ConfigError
from accel_yolo.metrics import nms
from accel_yolo.metrics.nms import NmsOptions, non_max_suppression
from accel_yolo.metrics.nms_kernel import suppress_overlaps

RECORDED = ("default", "validation", "agnostic", "classes", "max_det", "single_class")

# centre x, centre y, width, height, objectness, three classes
SIX = torch.tensor(
    [
        [50, 50, 20, 20, 0.9, 0.8, 0.1, 0.5],
        [51, 50, 20, 20, 0.8, 0.85, 0.2, 0.1],
        [50, 50, 20, 20, 0.7, 0.1, 0.9, 0.1],
        [200, 200, 40, 40, 0.6, 0.3, 0.2, 0.35],
        [10, 10, 4, 4, 0.2, 0.99, 0.1, 0.12],
        [52, 52, 20, 20, 0.5, 0.2, 0.1, 0.95],
    ]
)
FIRST, SECOND, THIRD = (40, 40, 60, 60, 0.72, 0), (40, 40, 60, 60, 0.63, 1), (42, 42, 62, 62, 0.475, 2)
FAR = (180, 180, 220, 220, 0.21, 2)

EXAMPLES = {
    "best class": (NmsOptions(), [FIRST, SECOND, THIRD]),
    "multi-label": (NmsOptions(multi_label=True), [FIRST, SECOND, THIRD]),
    "agnostic": (NmsOptions(agnostic=True), [FIRST]),
    "class filter": (NmsOptions(conf_thres=0.15, classes=(2,), multi_label=True), [THIRD, FAR]),
    "validation": (NmsOptions(0.001, 0.6, multi_label=True, max_det=4), [FIRST, SECOND, THIRD, FAR]),
}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_predictions_keep_the_recorded_rows_in_order(name: str, recorded: Callable[[str], Path]) -> None:
    cases = {case["name"]: case for case in json.loads(recorded("nms_cases.json").read_text())}
    case = {key: value for key, value in cases[name].items() if key not in ("name", "nc")}
    if "classes" in case:
        case["classes"] = tuple(case["classes"])
    with np.load(recorded("nms.npz")) as numbers:
        kept = non_max_suppression(torch.from_numpy(numbers[f"{name}/pred"]), NmsOptions(**case))
        for image, rows in enumerate(kept):
            np.testing.assert_array_equal(rows.numpy(), numbers[f"{name}/kept{image}"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_six_boxes_by_hand(name: str) -> None:
    options, expected = EXAMPLES[name]
    (kept,) = non_max_suppression(SIX[None], options)
    torch.testing.assert_close(kept, torch.tensor(expected, dtype=torch.float32))


def predictions(n: int, nc: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    boxes = torch.rand(n, 4, generator=draw) * torch.tensor([640, 640, 120, 120])
    return torch.cat((boxes, torch.rand(n, 1 + nc, generator=draw)), dim=1)[None]


def test_confidence_thresholds_are_strict() -> None:
    at_threshold = torch.tensor([[[50, 50, 20, 20, 0.5, 0.5]]])
    assert len(non_max_suppression(at_threshold, NmsOptions(conf_thres=0.25))[0]) == 0
    assert len(non_max_suppression(at_threshold, NmsOptions(conf_thres=0.2499))[0]) == 1


def test_two_boxes_at_exactly_the_iou_threshold_are_both_kept() -> None:
    half = torch.tensor([[[10, 10, 20, 20, 1.0, 0.9], [10, 5, 20, 10, 1.0, 0.8]]])
    assert len(non_max_suppression(half, NmsOptions(iou_thres=0.5))[0]) == 2
    assert len(non_max_suppression(half, NmsOptions(iou_thres=0.4999))[0]) == 1


def test_equal_confidences_keep_the_order_of_the_predictions() -> None:
    columns = torch.arange(400) * 50.0
    rows = torch.stack([torch.tensor([x, 50, 20, 20, 0.5, 0.9, 0.9]) for x in columns.tolist()])[None]
    for multi_label in (False, True):
        (kept,) = non_max_suppression(rows, NmsOptions(multi_label=multi_label, max_det=800))
        starts = columns.repeat_interleave(2) if multi_label else columns
        assert torch.equal(kept[:, 0], starts - 10)
    assert kept[:4, 5].tolist() == [0, 1, 0, 1]


def test_the_answer_for_an_image_does_not_depend_on_its_batch() -> None:
    images = torch.cat([predictions(1500, 4, seed) for seed in range(3)])
    options = NmsOptions(0.01, 0.6, multi_label=True)
    together = non_max_suppression(images, options)
    for image, rows in zip(images, together, strict=True):
        assert torch.equal(non_max_suppression(image[None], options)[0], rows)


def test_survivors_of_a_class_never_overlap_more_than_the_threshold_and_classes_do_not_meet() -> None:
    (kept,) = non_max_suppression(predictions(3000, 3), NmsOptions(0.05, 0.5, multi_label=True, max_det=10_000))
    for label in range(3):
        boxes = kept[kept[:, 5] == label, :4].double()
        overlap = box_iou(boxes, boxes).fill_diagonal_(0)
        assert len(boxes) > 100
        assert overlap.max() <= 0.5


def test_boxes_that_stick_out_of_the_image_do_not_meet_those_of_another_class() -> None:
    # Separated by an offset per class alone, the second box would land on the first.
    rows = torch.tensor([[[90, 90, 20, 20, 1, 0.9, 0.0], [-11, -11, 20, 20, 1, 0.0, 0.8]]])
    assert len(non_max_suppression(rows, NmsOptions())[0]) == 2


def test_more_candidates_than_the_cap_leave_the_most_confident(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = predictions(500, 2)
    everything = non_max_suppression(rows, NmsOptions(0.0, 1.0, multi_label=True, max_det=1000))[0]
    assert len(everything) == 1000
    monkeypatch.setattr(nms, "MAX_CANDIDATES", 100)
    capped = non_max_suppression(rows, NmsOptions(0.0, 1.0, multi_label=True, max_det=1000))[0]
    assert torch.equal(capped, everything[:100])


@pytest.mark.parametrize(("n", "nc", "iou_thres"), [(4000, 1, 0.3), (500, 20, 0.6), (80, 80, 0.9)])
def test_looking_at_the_best_few_first_gives_the_answer_of_looking_at_all(
    n: int, nc: int, iou_thres: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = torch.cat([predictions(n, nc, seed) for seed in range(3)])
    options = NmsOptions(0.01, iou_thres, multi_label=True, max_det=100)
    found = {}
    for first in (1, 8, 10_000):
        monkeypatch.setattr(nms, "FIRST_CANDIDATES_PER_KEPT", first)
        found[first] = non_max_suppression(rows, options)
    for few, many in zip(found[1], found[10_000], strict=True):
        assert torch.equal(few, many)
    for usual, many in zip(found[8], found[10_000], strict=True):
        assert torch.equal(usual, many)


def test_the_kernel_is_that_of_torchvision() -> None:
    boxes = predictions(2000, 1)[0, :, :4]
    boxes[:, 2:] += boxes[:, :2]
    scores = predictions(2000, 1, seed=1)[0, :, 4]
    assert torch.equal(suppress_overlaps(boxes, scores, 0.4), torchvision_nms(boxes, scores, 0.4))


def test_the_kernel_comes_without_the_package_that_holds_it() -> None:
    script = (
        "import sys; from accel_yolo.metrics.nms_kernel import suppress_overlaps; import torch\n"
        "print(len(suppress_overlaps(torch.zeros(2, 4), torch.ones(2), 0.5)), 'torchvision' in sys.modules)\n"
        "import torchvision.ops; print(len(torchvision.ops.nms(torch.zeros(2, 4), torch.ones(2), 0.5)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False", "2"]


def test_nan_and_infinite_predictions_are_not_kept() -> None:
    rows = SIX.clone()[None]
    rows[0, 0, 2], rows[0, 1, 4], rows[0, 2, 0] = float("nan"), float("nan"), float("inf")
    (kept,) = non_max_suppression(rows, NmsOptions())
    torch.testing.assert_close(kept, torch.tensor([THIRD]))


def test_nothing_above_the_threshold_gives_empty_rows_of_six_columns() -> None:
    for predictions_ in (torch.zeros(2, 30, 8), torch.zeros(2, 0, 8)):
        kept = non_max_suppression(predictions_, NmsOptions())
        assert [rows.shape for rows in kept] == [(0, 6), (0, 6)]


@pytest.mark.parametrize("wrong", [{"conf_thres": 1.1}, {"iou_thres": -0.1}, {"max_det": 0}])
def test_impossible_options_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NmsOptions(**wrong)
