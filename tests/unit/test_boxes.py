"""Boxes: formats, clipping, the IoU family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accel_yolo.boxes import cxcywh_to_xyxy, iou_matrix, paired_iou, xyxy_to_cxcywh

KINDS = ("iou", "giou", "diou", "ciou")


@pytest.mark.parametrize("kind", KINDS)
def test_the_iou_family_reproduces_the_recorded_pairs(kind: str, recorded: Callable[[str], Path]) -> None:
    with np.load(recorded("iou.npz")) as numbers:
        found = paired_iou(torch.from_numpy(numbers["a_xywh"]), torch.from_numpy(numbers["b_xywh"]), kind)
        np.testing.assert_allclose(found.numpy(), numbers[kind], atol=1e-5, rtol=0)


def test_paired_and_matrix_iou_agree(recorded: Callable[[str], Path]) -> None:
    with np.load(recorded("iou.npz")) as numbers:
        a, b = torch.from_numpy(numbers["a_xywh"]), torch.from_numpy(numbers["b_xywh"])
    matrix = iou_matrix(cxcywh_to_xyxy(a), cxcywh_to_xyxy(b))
    assert matrix.shape == (200, 200)
    torch.testing.assert_close(matrix.diagonal(), paired_iou(a, b), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_boxes_score_one_and_no_boxes_are_allowed(kind: str) -> None:
    box = torch.tensor([[30.0, 20.0, 12.0, 8.0]])
    assert paired_iou(box, box, kind).item() == pytest.approx(1, abs=1e-6)
    assert paired_iou(box[:0], box[:0], kind).shape == (0,)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="eiou"):
        paired_iou(torch.ones(1, 4), torch.ones(1, 4), "eiou")


def test_ciou_holds_its_aspect_weight_constant_for_the_gradient() -> None:
    pred = torch.tensor([[10.0, 10.0, 4.0, 8.0]], dtype=torch.float64, requires_grad=True)
    true = torch.tensor([[11.0, 10.0, 6.0, 6.0]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(paired_iou(pred, true, "ciou").sum(), pred)
    iou = paired_iou(pred.detach(), true)

    def aspect(box: torch.Tensor) -> torch.Tensor:
        angle = torch.atan(true[:, 2] / true[:, 3]) - torch.atan(box[:, 2] / box[:, 3])
        return 4 / torch.pi**2 * angle.square()

    weight = aspect(pred.detach()) / (aspect(pred.detach()) - iou + 1 + 1e-7)
    expected = torch.autograd.grad((paired_iou(pred, true, "diou") - weight * aspect(pred)).sum(), pred)[0]
    torch.testing.assert_close(gradient, expected)


def test_iou_with_an_empty_box_is_zero_and_never_nan() -> None:
    boxes = torch.tensor([[5.0, 5.0, 5.0, 5.0], [0.0, 0.0, 10.0, 10.0]])
    assert torch.equal(iou_matrix(boxes, boxes)[0], torch.zeros(2))
    assert iou_matrix(boxes[:0], boxes).shape == (0, 2)


numbers = st.floats(-500, 500, width=32)
sizes = st.floats(0.5, 500, width=32)


@given(st.lists(st.tuples(numbers, numbers, sizes, sizes), min_size=1, max_size=8))
def test_formats_convert_back_and_forth(rows: list[tuple[float, ...]]) -> None:
    boxes = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)


@given(st.lists(st.tuples(numbers, numbers, sizes, sizes), min_size=2, max_size=8))
def test_iou_is_symmetric_and_within_zero_and_one(rows: list[tuple[float, ...]]) -> None:
    boxes = cxcywh_to_xyxy(torch.tensor(rows, dtype=torch.float64))
    matrix = iou_matrix(boxes, boxes)
    torch.testing.assert_close(matrix, matrix.T)
    assert bool(((matrix >= 0) & (matrix <= 1)).all())
