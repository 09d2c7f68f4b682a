"""Pictures with a caption each, side by side in rows as high as their highest one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from accel_yolo.inference.output.contact_sheet import assembled
from accel_yolo.inference.output.drawing import label_font

INK, PAPER = (32, 32, 32), (255, 255, 255)
CAPTION_PX, STRIP_PX = 17, 26
_LEAST_LETTERS = 8


def captioned(picture: Image.Image, title: str, rest: str, width_px: int) -> np.ndarray:
    """Return uint8 [h + STRIP_PX, width_px, 3] RGB: a picture in the middle below its caption.

    Args:
        picture: not wider than `width_px`.
        title: begins the caption, and loses its middle where that is too long.
        rest: ends it.
        width_px: width of the tile.
    """
    tile = Image.new("RGB", (width_px, picture.height + STRIP_PX), PAPER)
    tile.paste(picture, ((width_px - picture.width) // 2, STRIP_PX))
    text = _shortened(title, rest, width_px)
    ImageDraw.Draw(tile).text((0, 2), text, fill=INK, font=label_font(CAPTION_PX))
    return np.asarray(tile)


def in_rows(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: tiles of one width in rows, upper edges in line.

    Args:
        tiles: at least one.
        columns: most of a row.
    """
    columns = min(columns, len(tiles))
    rows = (tiles[start : start + columns] for start in range(0, len(tiles), columns))
    return np.concatenate([_row(row, columns) for row in rows])


def _row(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    height, width = max(len(tile) for tile in tiles), tiles[0].shape[1]
    level = [np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0)), constant_values=255) for tile in tiles]
    return assembled(level, columns, columns=columns, cell_hw=(height, width))


def _shortened(title: str, rest: str, width_px: int) -> str:
    font = label_font(CAPTION_PX)
    while len(title) > _LEAST_LETTERS and font.getlength(title + rest) > width_px:
        title = title[: len(title) // 2 - 2] + "…" + title[len(title) // 2 + 2 :]
    return title + rest
