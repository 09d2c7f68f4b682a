"""Where images lie on a canvas. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel_yolo.letterbox import Letterbox

Rectangle = tuple[int, int, int, int]
"""Corners (x1, y1, x2, y2) in whole px, x2 and y2 exclusive."""


@dataclass(frozen=True)
class Tile:
    """One image, or a part of it, on a canvas.

    Attributes:
        index: number of the image.
        size_hw: size of the loaded image, px.
        canvas_xyxy: the rectangle of the canvas it covers, px.
        source_xyxy: the part of the loaded image that is shown there, px; of the same size unless it is resized.
        limit_xyxy: the part of the plane that the image's objects are cut to before the output cuts them, canvas px.
    """

    index: int
    size_hw: tuple[int, int]
    canvas_xyxy: Rectangle
    source_xyxy: Rectangle
    limit_xyxy: tuple[float, float, float, float]

    def norm_to_canvas(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (scale, offset), float64 [2] each: canvas px = scale * (x, y of the image, 0..1) + offset."""
        canvas, source = np.array(self.canvas_xyxy, dtype=np.float64), np.array(self.source_xyxy, dtype=np.float64)
        zoom = (canvas[2:] - canvas[:2]) / (source[2:] - source[:2])
        return zoom * (self.size_hw[1], self.size_hw[0]), canvas[:2] - zoom * source[:2]


def mosaic_tiles(
    indices: Sequence[int], sizes_hw: Sequence[tuple[int, int]], centre_xy: tuple[int, int], side: int
) -> tuple[Tile, ...]:
    """Return four tiles that meet at a point: top left, top right, bottom left, bottom right, cut by the canvas.

    Args:
        indices: four images.
        sizes_hw: their loaded sizes, px.
        centre_xy: where they meet, px.
        side: side of the square canvas, px.
    """
    centre_x, centre_y = centre_xy
    tiles = []
    for place, (index, (height, width)) in enumerate(zip(indices, sizes_hw, strict=True)):
        at_left, at_top = place % 2 == 0, place < 2
        shown_w = min(width, centre_x if at_left else side - centre_x)
        shown_h = min(height, centre_y if at_top else side - centre_y)
        x1 = centre_x - shown_w if at_left else centre_x
        y1 = centre_y - shown_h if at_top else centre_y
        # The corner of the image that touches the centre is the one that is never cut off.
        source_x1 = width - shown_w if at_left else 0
        source_y1 = height - shown_h if at_top else 0
        canvas_xyxy = (x1, y1, x1 + shown_w, y1 + shown_h)
        source_xyxy = (source_x1, source_y1, source_x1 + shown_w, source_y1 + shown_h)
        tiles.append(Tile(index, (height, width), canvas_xyxy, source_xyxy, (0, 0, side, side)))
    return tuple(tiles)


def letterboxed_tile(index: int, size_hw: tuple[int, int], out_hw: tuple[int, int]) -> Tile:
    """Return the tile of one whole image, centred in `out_hw` px and enlarged to it when it is smaller."""
    box = Letterbox.plan(size_hw, out_hw, scaleup=True)
    height, width = box.content_hw
    canvas_xyxy = (box.left, box.top, box.left + width, box.top + height)
    return Tile(index, size_hw, canvas_xyxy, (0, 0, size_hw[1], size_hw[0]), (0, 0, out_hw[1], out_hw[0]))


def direct_tiles(
    tiles: Sequence[Tile], zoom_xy: tuple[float, float], shift_xy: tuple[float, float], out_hw: tuple[int, int]
) -> tuple[Tile, ...]:
    """Return the tiles as the output shows them when a canvas is only zoomed and shifted; no canvas is needed then.

    Both rectangles of a tile are snapped to whole pixels, which moves edges by at most half a pixel. Labels follow the
    snapped rectangles, so they are exact for what is shown. Tiles that the output does not show are left out.

    Args:
        tiles: on the canvas.
        zoom_xy: output px per canvas px.
        shift_xy: place of the canvas's corner in the output, px.
        out_hw: size of the output, px.
    """
    shown = []
    for tile in tiles:
        horizontal, vertical = (
            _span(tile, axis, zoom_xy[axis], shift_xy[axis], size) for axis, size in ((0, out_hw[1]), (1, out_hw[0]))
        )
        if horizontal and vertical:
            (x1, x2, left, right, low_x, high_x), (y1, y2, top, bottom, low_y, high_y) = horizontal, vertical
            limit_xyxy = (low_x, low_y, high_x, high_y)
            shown.append(Tile(tile.index, tile.size_hw, (x1, y1, x2, y2), (left, top, right, bottom), limit_xyxy))
    return tuple(shown)


def _span(
    tile: Tile, axis: int, zoom: float, shift: float, size: int
) -> tuple[int, int, int, int, float, float] | None:
    """Return what the output shows of a tile along one axis: place, part of the image, limits; None if nothing."""
    canvas, source = tile.canvas_xyxy[axis::2], tile.source_xyxy[axis::2]
    # Neighbours share an edge on the canvas, so they share one here: no gap, no overlap.
    first, last = (round(edge * zoom + shift) for edge in canvas)
    begin, end = max(first, 0), min(last, size)
    if end <= begin:
        return None
    per_px = (source[1] - source[0]) / (last - first)
    part_begin = min(round(source[0] + (begin - first) * per_px), source[1] - 1)
    part_end = max(round(source[0] + (end - first) * per_px), part_begin + 1)
    ratio = (end - begin) / (part_end - part_begin)
    low, high = (begin + (edge - part_begin) * ratio for edge in source)
    return begin, end, part_begin, part_end, low, high
