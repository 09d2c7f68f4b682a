"""What the loss reads of a head output, and the tables of matched cells as a GPU gets them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.losses.assignment import LevelEntries, assign
from accel_yolo.losses.detection import LossOptions, detection_sums
from accel_yolo.losses.gather import rows_and_objectness

GRID_HW = (6, 5)
ANCHORS_GRID = np.array([[[1.0, 1.5], [2.0, 1.0], [3.0, 3.0]]], dtype=np.float32)
OPTIONS = LossOptions(box=0.05, obj=1.0, cls=0.5, nc=4, levels=1, label_smoothing=0.1, fl_gamma=0.0)


def head_output(dtype: torch.dtype = torch.float32, images: int = 2) -> Tensor:
    """Return [B, A, H, W, no] as a head gives it: a view of a convolution's channels-last output."""
    channels = 3 * (5 + OPTIONS.nc)
    values = torch.randn(images, channels, *GRID_HW, generator=torch.Generator().manual_seed(0)).to(dtype)
    values = values.contiguous(memory_format=torch.channels_last).requires_grad_()
    return values.unflatten(1, (3, -1)).permute(0, 1, 3, 4, 2)


def matched(objects: int = 12) -> LevelEntries:
    """Return the entries of random objects, several of which claim the same cells."""
    draw = np.random.default_rng(0)
    columns = [draw.integers(0, 2, objects), draw.integers(0, OPTIONS.nc, objects)]
    targets = np.column_stack((*columns, draw.uniform(0.3, 0.7, (objects, 2)), draw.uniform(0.1, 0.6, (objects, 2))))
    return assign(targets.astype(np.float32), ANCHORS_GRID, [GRID_HW], 4.0)[0]


def plainly(raw: Tensor, entries: LevelEntries) -> tuple[Tensor, Tensor]:
    """Return rows and objectness by indexing twice."""
    image, anchor, row, column = entries.cells[:, :4].unbind(1)
    return raw[image, anchor, row, column].float(), raw[..., 4].permute(0, 2, 3, 1).flatten().float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rows_and_objectness_are_those_of_plain_indexing_and_so_is_their_gradient(dtype: torch.dtype) -> None:
    raw, entries = head_output(dtype), matched()
    assert len(entries.cells) > len(entries.cells[:, 5].unique()), "a cell with two objects is what is difficult"
    rows, objectness = rows_and_objectness(raw, entries.cells[:, 5])
    expected = plainly(raw, entries)
    assert rows.dtype == objectness.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close((rows.float(), objectness.float()), expected, rtol=0, atol=0)
    weights = [torch.randn(part.shape, generator=torch.Generator().manual_seed(1)) for part in expected]

    def gradient(parts: tuple[Tensor, Tensor]) -> Tensor:
        loss = sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
        assert isinstance(loss, Tensor)
        return torch.autograd.grad(loss, raw, retain_graph=True)[0]

    found = gradient((rows, objectness))
    assert found.dtype == dtype
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(found, gradient(expected), rtol=tolerance, atol=tolerance)


def test_the_gradient_is_that_of_finite_differences() -> None:
    places = torch.tensor([0, 7, 7, 11])
    raw = torch.randn(1, 2, 2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda raw: rows_and_objectness(raw, places), (raw,))


def test_the_gradient_reaches_a_convolution_in_its_own_memory_order() -> None:
    raw = head_output()
    values = raw._base
    assert values is not None
    rows, objectness = rows_and_objectness(raw, matched().cells[:, 5])
    (rows.sum() + objectness.sum()).backward()
    assert values.grad is not None and values.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("gamma", [0.0, 1.5])
@pytest.mark.parametrize("objects", [0, 1, 12, 60])
def test_tables_filled_up_to_sizes_that_repeat_change_neither_loss_nor_gradient(objects: int, gamma: float) -> None:
    options = LossOptions(box=0.05, obj=1.0, cls=0.5, nc=4, levels=1, label_smoothing=0.1, fl_gamma=gamma, cls_pw=0.7)
    entries, results = matched(objects), []
    filled = entries.filled_up()
    assert len(filled.cells) in (64, 128, 256, 512, 1024)
    assert filled.boxes[:, 6].sum() == len(entries.cells)
    for table in (entries, filled):
        raw = head_output()
        sums = detection_sums([raw], [table], options)
        results.append((sums, torch.autograd.grad(sums.sum(), raw)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    assert all(value.isfinite().all() for value in results[1])


def test_the_sums_of_a_half_precision_output_are_float32() -> None:
    raw, entries = head_output(torch.bfloat16), matched()
    sums = detection_sums([raw], [entries], OPTIONS)
    assert sums.dtype == torch.float32
    torch.testing.assert_close(sums, detection_sums([raw.float()], [entries], OPTIONS))
    assert torch.autograd.grad(sums.sum(), raw)[0].dtype == torch.bfloat16
