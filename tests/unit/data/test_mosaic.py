"""Where tiles lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_yolo.data.mosaic import Tile, letterboxed_tile, mosaic_tiles

SIZES = st.lists(st.tuples(st.integers(1, 320), st.integers(1, 320)), min_size=4, max_size=4)


def test_tiles_are_anchored_at_the_centre_and_cut_by_the_canvas() -> None:
    tiles = mosaic_tiles((7, 8, 9, 6), [(100, 200), (320, 160), (50, 320), (300, 320)], (150, 400), 640)
    assert [tile.canvas_xyxy for tile in tiles] == [
        (0, 300, 150, 400),
        (150, 80, 310, 400),
        (0, 400, 150, 450),
        (150, 400, 470, 640),
    ]
    assert [tile.source_xyxy for tile in tiles] == [
        (50, 0, 200, 100),
        (0, 0, 160, 320),
        (170, 0, 320, 50),
        (0, 0, 320, 240),
    ]
    assert [tile.index for tile in tiles] == [7, 8, 9, 6]


@given(SIZES, st.integers(160, 479), st.integers(160, 479))
def test_tiles_keep_their_scale_and_never_overlap_or_leave(
    sizes: list[tuple[int, int]], centre_x: int, centre_y: int
) -> None:
    cover = np.zeros((640, 640), dtype=int)
    for tile in mosaic_tiles(range(4), sizes, (centre_x, centre_y), 640):
        canvas, source = np.array(tile.canvas_xyxy), np.array(tile.source_xyxy)
        assert (canvas >= 0).all()
        assert (canvas <= 640).all()
        assert (source[:2] >= 0).all()
        assert (source[2:] <= tile.size_hw[::-1]).all()
        assert ((canvas[2:] - canvas[:2]) == (source[2:] - source[:2])).all()
        assert ((canvas[2:] - canvas[:2]) > 0).all()
        cover[canvas[1] : canvas[3], canvas[0] : canvas[2]] += 1
    assert cover.max() == 1


@pytest.mark.parametrize(
    ("size_hw", "out_hw", "canvas_xyxy"),
    [
        ((427, 640), (640, 640), (0, 106, 640, 533)),
        ((336, 400), (448, 672), (69, 0, 602, 448)),
        ((640, 427), (320, 640), (213, 0, 427, 320)),
    ],
)
def test_a_single_image_is_centred_and_fits(
    size_hw: tuple[int, int], out_hw: tuple[int, int], canvas_xyxy: tuple[int, int, int, int]
) -> None:
    tile = letterboxed_tile(3, size_hw, out_hw)
    assert tile == Tile(3, size_hw, canvas_xyxy, (0, 0, size_hw[1], size_hw[0]))


def test_normalised_coordinates_land_on_the_pixels_of_the_tile() -> None:
    tile = Tile(0, (100, 200), canvas_xyxy=(10, 20, 110, 70), source_xyxy=(0, 0, 200, 100))
    scale, offset = tile.norm_to_canvas()
    np.testing.assert_allclose(np.array([(0, 0), (1, 1), (0.5, 0.5)]) * scale + offset, [(10, 20), (110, 70), (60, 45)])
