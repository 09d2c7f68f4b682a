"""Letterbox: where an image lies in a network input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.letterbox import FILL, Letterbox, resized_hw


def test_every_recorded_placement_is_reproduced_exactly(recorded: Callable[[str], Path]) -> None:
    cases = json.loads(recorded("letterbox.json").read_text())
    assert len(cases) > 50
    for case in cases:
        new = case["new"] if isinstance(case["new"], list) else [case["new"]] * 2
        box = Letterbox.plan((case["h"], case["w"]), tuple(new), auto=case["auto"], scaleup=case["scaleup"])
        found = {"out": list(box.out_hw), "ratio": [box.ratio] * 2, "pad_xy": list(box.pad_xy)}
        found |= {"top": box.top, "left": box.left}
        assert found == {key: case[key] for key in found}, case


# image, target, options; then size of the result, ratio, half padding (x, y), rows and columns of the content
PLACEMENTS = [
    ((427, 640), (640, 640), {}, (640, 640), 1, (0, 106.5), (106, 532), (0, 639)),
    ((427, 640), (640, 640), {"auto": True}, (448, 640), 1, (0, 10.5), (10, 436), (0, 639)),
    ((1080, 810), (640, 640), {"auto": True}, (640, 480), 0.592593, (0, 0), (0, 639), (0, 479)),
    ((333, 500), (448, 672), {"scaleup": False}, (448, 672), 1, (86, 57.5), (57, 389), (86, 585)),
    ((101, 77), (96, 96), {}, (96, 96), 0.950495, (11.5, 0), (0, 95), (11, 83)),
    ((100, 300), (256, 256), {"auto": True, "stride": 64}, (128, 256), 0.853333, (0, 21.5), (21, 105), (0, 255)),
]


@pytest.mark.parametrize("case", PLACEMENTS, ids=lambda case: f"{case[0]} into {case[1]} {case[2]}")
def test_content_lies_where_the_reference_puts_it(case: tuple) -> None:
    source_hw, target_hw, options, out_hw, ratio, pad_xy, rows, columns = case
    box = Letterbox.plan(source_hw, target_hw, **options)
    assert (box.out_hw, box.pad_xy) == (out_hw, pad_xy)
    assert box.ratio == pytest.approx(ratio, abs=5e-7)
    pixels = box.apply(np.zeros((*source_hw, 3), dtype=np.uint8))
    assert pixels.shape == (*out_hw, 3)
    found_rows, found_columns = np.where(pixels[..., 0] == 0)
    assert (found_rows.min(), found_rows.max()) == rows
    assert (found_columns.min(), found_columns.max()) == columns
    assert set(np.unique(pixels)) <= {0, FILL}


def test_an_image_that_fits_is_copied_pixel_by_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    box = Letterbox.plan((64, 96), (96, 96))
    pixels = box.apply(image)
    assert np.array_equal(pixels[box.top : box.top + 64, box.left : box.left + 96], image)


@pytest.mark.parametrize(("source_hw", "imgsz", "expected"), [
    ((333, 500), 640, (427, 640)), ((480, 640), 640, (480, 640)), ((100, 50), 64, (64, 32)), ((3, 1000), 100, (1, 100)),
])  # fmt: skip
def test_resizing_brings_the_longer_side_to_the_size_and_rounds_up(
    source_hw: tuple[int, int], imgsz: int, expected: tuple[int, int]
) -> None:
    assert resized_hw(source_hw, imgsz) == expected
