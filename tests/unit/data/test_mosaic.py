"""Where tiles lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_yolo.data.mosaic import Tile, direct_tiles, letterboxed_tile, mosaic_tiles

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
    out_h, out_w = out_hw
    assert tile == Tile(3, size_hw, canvas_xyxy, (0, 0, size_hw[1], size_hw[0]), (0, 0, out_w, out_h))


def test_normalised_coordinates_land_on_the_pixels_of_the_tile() -> None:
    tile = Tile(0, (100, 200), canvas_xyxy=(10, 20, 110, 70), source_xyxy=(0, 0, 200, 100), limit_xyxy=(0, 0, 640, 640))
    scale, offset = tile.norm_to_canvas()
    np.testing.assert_allclose(np.array([(0, 0), (1, 1), (0.5, 0.5)]) * scale + offset, [(10, 20), (110, 70), (60, 45)])


ZOOMS = st.floats(0.1, 1.9)
SHIFTS = st.floats(-700, 400)


@given(SIZES, st.integers(160, 479), st.integers(160, 479), ZOOMS, st.tuples(SHIFTS, SHIFTS))
def test_direct_tiles_cover_what_the_warped_canvas_covers_and_never_overlap(
    sizes: list[tuple[int, int]], centre_x: int, centre_y: int, zoom: float, shift_xy: tuple[float, float]
) -> None:
    tiles = mosaic_tiles(range(4), sizes, (centre_x, centre_y), 640)
    cover = np.zeros((320, 320), dtype=int)
    for tile in direct_tiles(tiles, (zoom, zoom), shift_xy, (320, 320)):
        x1, y1, x2, y2 = tile.canvas_xyxy
        left, top, right, bottom = tile.source_xyxy
        assert 0 <= x1 < x2 <= 320
        assert 0 <= y1 < y2 <= 320
        whole = tiles[tile.index].source_xyxy
        assert whole[0] <= left < right <= whole[2]
        assert whole[1] <= top < bottom <= whole[3]
        cover[y1:y2, x1:x2] += 1
    assert cover.max() <= 1
    expected = np.zeros((320, 320), dtype=int)
    for tile in tiles:
        x1, y1, x2, y2 = (round(edge * zoom + shift_xy[n % 2]) for n, edge in enumerate(tile.canvas_xyxy))
        expected[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 1
    np.testing.assert_array_equal(cover, expected)


@given(SIZES, st.integers(160, 479), st.integers(160, 479), ZOOMS, st.tuples(SHIFTS, SHIFTS))
def test_what_a_direct_tile_shows_is_moved_by_half_a_pixel_at_most(
    sizes: list[tuple[int, int]], centre_x: int, centre_y: int, zoom: float, shift_xy: tuple[float, float]
) -> None:
    tiles = mosaic_tiles(range(4), sizes, (centre_x, centre_y), 640)
    for tile in direct_tiles(tiles, (zoom, zoom), shift_xy, (320, 320)):
        before = tiles[tile.index]
        corners = np.array(tile.source_xyxy, dtype=np.float64).reshape(2, 2)
        scale, offset = before.norm_to_canvas()
        size = np.array(before.size_hw[::-1])
        exact = (corners / size * scale + offset) * zoom + shift_xy
        shown = np.array(tile.canvas_xyxy).reshape(2, 2)
        # Half a pixel of the output, and half a pixel of the image: at least one pixel of it is always shown.
        assert np.abs(exact - shown).max() <= 0.5 + 1.5 * zoom + 1e-6
