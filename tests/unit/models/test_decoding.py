"""Decoding confident cells alone gives the rows that decoding everything gives, in the same order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accel_yolo.models.decoding import confident_rows
from accel_yolo.models.detector import Detector


def raw_outputs(detector: Detector, *, nhwc: bool, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Random head outputs of 3 images, 16 x 24 px, in either memory layout."""
    draw = torch.Generator().manual_seed(5)
    raws = []
    for stride in detector.strides:
        planes = torch.randn(3, 2 * 7, 64 // stride, 96 // stride, generator=draw) * 3
        planes = planes.to(dtype, memory_format=torch.channels_last if nhwc else torch.contiguous_format)
        raws.append(planes.unflatten(1, (2, 7)).permute(0, 1, 3, 4, 2))
    return raws


@pytest.mark.parametrize("nhwc", [False, True])
@pytest.mark.parametrize("conf_thres", [0.0, 0.5, 0.99])
def test_rows_and_their_order_are_those_of_decoding_everything(tiny: Detector, nhwc: bool, conf_thres: float) -> None:
    raws = raw_outputs(tiny, nhwc=nhwc)
    everything = tiny.decode(raws)
    place, row = torch.nonzero(everything[..., 4] > conf_thres, as_tuple=True)
    rows, image = confident_rows(tiny, raws, conf_thres)
    assert len(rows) > 10
    assert torch.equal(image, place)
    torch.testing.assert_close(rows, everything[place, row], rtol=1e-6, atol=1e-6)


def test_half_precision_is_decoded_in_float32(tiny: Detector) -> None:
    halves = raw_outputs(tiny, nhwc=True, dtype=torch.bfloat16)
    rows, _ = confident_rows(tiny, halves, 0.3)
    expected, _ = confident_rows(tiny, [raw.float() for raw in halves], 0.3)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, expected)


def test_nothing_confident_gives_no_rows_of_the_same_width(tiny: Detector) -> None:
    rows, image = confident_rows(tiny, raw_outputs(tiny, nhwc=True), 1.0)
    assert rows.shape == (0, 7) and image.shape == (0,)


def test_a_cell_that_is_not_a_number_is_left_out(tiny: Detector) -> None:
    raws = raw_outputs(tiny, nhwc=True)
    before, _ = confident_rows(tiny, raws, 0.0)
    raws[0][0, 0, 0, 0, 4] = float("nan")
    after, _ = confident_rows(tiny, raws, 0.0)
    torch.testing.assert_close(after, before[1:], rtol=1e-6, atol=1e-6)
