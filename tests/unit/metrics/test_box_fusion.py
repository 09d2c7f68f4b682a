"""Weighted box fusion: against recorded numbers, and its properties."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.metrics.box_fusion import weighted_box_fusion

RECORDED = json.loads((Path(__file__).parents[2] / "reference" / "box_fusion.json").read_text())


def table(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)


@pytest.mark.parametrize("case", RECORDED["cases"])
def test_it_gives_the_numbers_of_the_authors_implementation(case: dict) -> None:
    fused = weighted_box_fusion([table(*rows) for rows in case["tables"]], case["iou_thres"])
    np.testing.assert_allclose(fused.numpy(), case["fused"], atol=1e-6)


def test_a_box_that_few_detectors_see_is_trusted_less() -> None:
    box = (0.0, 0.0, 10.0, 10.0, 0.8, 0.0)
    assert weighted_box_fusion([table(box), table(), table(), table()], 0.5)[0, 4] == pytest.approx(0.2)
    assert weighted_box_fusion([table(box)] * 4, 0.5)[0, 4] == pytest.approx(0.8)


def test_boxes_of_different_classes_are_fused_only_if_asked() -> None:
    tables = [table((0, 0, 10, 10, 0.9, 0)), table((0, 0, 10, 10, 0.3, 1))]
    assert weighted_box_fusion(tables, 0.5)[:, 5].tolist() == [0, 1]
    (fused,) = weighted_box_fusion(tables, 0.5, agnostic=True).tolist()
    assert fused == pytest.approx([0, 0, 10, 10, 0.6, 0])


def test_nothing_found_stays_nothing_and_boxes_without_area_are_kept_apart() -> None:
    assert weighted_box_fusion([table(), table()], 0.5).shape == (0, 6)
    flat = table((5, 5, 5, 5, 0.5, 0))
    assert weighted_box_fusion([flat, flat], 0.5).isfinite().all()
