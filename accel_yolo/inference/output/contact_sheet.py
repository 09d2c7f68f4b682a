"""Labelled images side by side on one sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from accel_yolo.data.images import read_resized
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import ConfigError
from accel_yolo.inference.output.drawing import DrawOptions, draw_boxes
from accel_yolo.inference.results import Detection

_GAP_PX, _GROUND = 6, 255
_LARGEST_PX = 65_000
"""What a JPEG can hold."""


def contact_sheet(
    index: SplitIndex, images: Sequence[int], names: Mapping[int, str], *, columns: int, tile_px: int
) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: images with their labelled boxes, row by row.

    Args:
        index: the split.
        images: numbers of the images to show.
        names: class number to name.
        columns: images side by side.
        tile_px: longer side of each image, px.

    Raises:
        DataError: an image cannot be read.
        ConfigError: no picture can be so large.
    """
    tiles = (_drawn(index, image, names, tile_px) for image in images)
    return assembled(tiles, len(images), columns=columns, cell_hw=(tile_px, tile_px))


def assembled(tiles: Iterable[np.ndarray], count: int, *, columns: int, cell_hw: tuple[int, int]) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: pictures in cells of one size, row by row, each in the middle of its cell.

    Args:
        tiles: uint8 [h, w, 3], none larger than a cell.
        count: how many there are, at least one.
        columns: pictures side by side.
        cell_hw: height and width of a cell, px.

    Raises:
        ConfigError: no picture can be so large.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    pitch_h, pitch_w = cell_hw[0] + _GAP_PX, cell_hw[1] + _GAP_PX
    if max(rows * pitch_h, columns * pitch_w) > _LARGEST_PX:
        remedy = "show fewer --images, with more --columns or a smaller --tile"
        raise ConfigError("the sheet is too large", value=f"{columns * pitch_w} x {rows * pitch_h} px", remedy=remedy)
    sheet = np.full((rows * pitch_h + _GAP_PX, columns * pitch_w + _GAP_PX, 3), _GROUND, np.uint8)
    for place, tile in enumerate(tiles):
        height, width = tile.shape[:2]
        top = _GAP_PX + place // columns * pitch_h + (cell_hw[0] - height) // 2
        left = _GAP_PX + place % columns * pitch_w + (cell_hw[1] - width) // 2
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _drawn(index: SplitIndex, image: int, names: Mapping[int, str], tile_px: int) -> np.ndarray:
    pixels = read_resized(index.paths[image], tile_px, augmenting=False)
    found = labelled_objects(index.labels_of(image), pixels.shape[:2], names)
    return draw_boxes(pixels, found, DrawOptions(line_thickness=max(1, tile_px // 160), confidences=False))


def labelled_objects(labels: np.ndarray, size_hw: tuple[int, int], names: Mapping[int, str]) -> list[Detection]:
    """Return labels as objects to draw, the largest first: smaller boxes lie on top.

    Args:
        labels: [k, 5] class, cx, cy, w, h (0..1).
        size_hw: of the picture they are drawn in, px.
        names: class number to name.
    """
    (height, width), found = size_hw, []
    for row in sorted(labels.tolist(), key=lambda row: -row[3] * row[4]):
        class_id, cx, cy, box_w, box_h = row
        left, top, right, bottom = cx - box_w / 2, cy - box_h / 2, cx + box_w / 2, cy + box_h / 2
        corners = left * width, top * height, right * width, bottom * height
        found.append(Detection(corners, 1.0, int(class_id), names.get(int(class_id), str(int(class_id)))))
    return found
