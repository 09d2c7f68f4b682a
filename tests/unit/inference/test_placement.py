"""The way back from the network input to the image."""

from __future__ import annotations

import numpy as np
import pytest

from accel_yolo.inference.mapping import Placement
from accel_yolo.letterbox import Letterbox

BOX = np.array([[50.0, 60.0, 300.0, 400.0]], np.float32)


def test_a_computed_placement_maps_back_as_recorded() -> None:
    back = Placement.computed((333, 500), (448, 672)).to_source(BOX)
    np.testing.assert_allclose(back, [[37.2024, 44.4762, 223.2143, 297.4524]], atol=5e-5, rtol=0)


def test_a_stored_placement_maps_back_as_recorded_and_clips() -> None:
    back = Placement((333, 500), 1.0, (86, 57.5)).to_source(BOX)
    np.testing.assert_allclose(back, [[0.0, 2.5, 214, 333]])


@pytest.mark.parametrize("source_hw", [(480, 640), (427, 640), (1080, 810), (101, 77), (50, 1000)])
def test_boxes_return_to_where_they_came_from(source_hw: tuple[int, int]) -> None:
    height, width = source_hw
    box = Letterbox.plan(source_hw, (640, 640), auto=True)
    inside = np.array([[0.1 * width, 0.2 * height, 0.8 * width, 0.9 * height]], np.float32)
    placed = inside * box.ratio + np.array(box.pad_xy * 2, np.float32)
    back = Placement.computed(source_hw, box.out_hw).to_source(placed)
    np.testing.assert_allclose(back, inside, atol=0.7 / box.ratio, rtol=0)
