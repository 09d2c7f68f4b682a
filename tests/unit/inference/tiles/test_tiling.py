"""Which tiles an image is cut into."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.config.predict_schema import MOST_OVERLAP
from accel_yolo.errors import ConfigError
from accel_yolo.inference.tiles.tiling import SMALLEST_SIDE, Tiling, planned_tiles

SIDES = st.integers(1, 3000)
TILINGS = st.builds(Tiling, side=st.integers(SMALLEST_SIDE, 900), overlap=st.floats(0, MOST_OVERLAP))


def intervals(tiles: np.ndarray, axis: int) -> list[tuple[int, int]]:
    """Where tiles begin and end along x (0) or y (1), each once, in order."""
    return sorted({(int(tile[axis]), int(tile[axis + 2])) for tile in tiles})


@settings(max_examples=150)
@given(SIDES, SIDES, TILINGS)
def test_every_pixel_is_covered_by_tiles_inside_the_image_that_overlap_as_asked(
    height: int, width: int, tiling: Tiling
) -> None:
    for axis, length in ((0, width), (1, height)):
        side = min(length, tiling.side)
        # Squares of a few pixels: only one axis is planned at a time, or there would be millions of them.
        hw = (length, 1) if axis else (1, length)
        placed = intervals(planned_tiles(hw, tiling), axis)
        assert placed[0][0] == 0 and placed[-1][1] == length
        assert all(end - begin == side for begin, end in placed)
        shared = [end - begin for (_, end), (begin, _) in zip(placed, placed[1:], strict=False)]
        asked = min(np.ceil(tiling.overlap * side - 1e-9), side - 1)
        assert all(least >= asked for least in shared)
        # No tile too many: one less would not cover the image with that overlap.
        assert len(placed) == 1 or (len(placed) - 1) * side - (len(placed) - 2) * asked < length
        assert max(shared, default=0) - min(shared, default=0) <= 1


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_tiles_of_an_image_are_those_of_its_rows_times_those_of_its_columns(height: int, width: int) -> None:
    tiling = Tiling(64, 0.25)
    tiles = planned_tiles((height, width), tiling)
    columns = intervals(planned_tiles((1, width), tiling), 0)
    rows = intervals(planned_tiles((height, 1), tiling), 1)
    assert tiles.tolist() == [[x1, y1, x2, y2] for y1, y2 in rows for x1, x2 in columns]
    seen = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in tiles:
        seen[y1:y2, x1:x2] = True
    assert seen.all()


def test_an_image_that_fits_into_a_tile_is_not_cut() -> None:
    assert planned_tiles((640, 480), Tiling(640)).tolist() == [[0, 0, 480, 640]]
    assert planned_tiles((1, 1), Tiling(640)).tolist() == [[0, 0, 1, 1]]
    assert len(planned_tiles((640, 641), Tiling(640))) == 2


def test_a_known_plan() -> None:
    # 640 px with 128 px in common: 2000 px need four tiles, spread evenly.
    assert intervals(planned_tiles((640, 2000), Tiling(640, 0.2)), 0) == [
        (0, 640),
        (453, 1093),
        (906, 1546),
        (1360, 2000),
    ]


@pytest.mark.parametrize("values", [{"side": 0}, {"overlap": -0.1}, {"overlap": 0.91}, {"batch": 0}])
def test_what_cannot_be_a_tiling_is_an_error(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Tiling(**values)  # pyright: ignore[reportArgumentType]
