"""The images that a detector gets most wrong, side by side: what it missed, what it made up, what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from accel_yolo.data.images import read_resized
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.inference.output.captioned_sheet import CAPTION_PX, INK, PAPER, STRIP_PX, captioned, in_rows
from accel_yolo.inference.output.drawing import Rgb, draw_label, label_font
from accel_yolo.metrics.mistakes import Mistakes

FOUND, MISSED, FALSE = (0, 158, 115), (214, 0, 122), (255, 176, 0)
"""Colours that people who see red and green alike can tell apart."""
_TEXT_PX, _THICK_PX, _DASH_PX = 12, 3, 6
_LEAST_NAMED_PX = 24
"""Longer side of the boxes that are named: on smaller ones a name would hide more than it says."""
COLUMNS, TILE_PX = 4, 560


def caption_of(mistake: Mistakes) -> str:
    """Return what is wrong with an image, in a few words."""
    parts = [f"{mistake.missed} missed"] if mistake.missed else []
    parts += [f"{mistake.false} false"] if mistake.false else []
    parts += [f"{mistake.confused} misnamed"] if mistake.confused else []
    return ", ".join(parts)


def mistake_sheet(
    index: SplitIndex, worst: Sequence[Mistakes], titles: Sequence[str], names: Mapping[int, str]
) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB: the images with their mistakes, the worst first, below a legend.

    Objects that were missed have a dashed box and their name, false detections a thick one with name and confidence,
    objects that were found a thin one.

    Args:
        index: the split.
        worst: at least one image.
        titles: what to call each.
        names: class number to name.

    Raises:
        DataError: an image cannot be read.
    """
    rows = in_rows(list(_tiles(index, worst, titles, names)), COLUMNS)
    return np.concatenate((_legend(rows.shape[1]), rows))


def _tiles(
    index: SplitIndex, worst: Sequence[Mistakes], titles: Sequence[str], names: Mapping[int, str]
) -> Iterator[np.ndarray]:
    for place, (mistake, title) in enumerate(zip(worst, titles, strict=True), start=1):
        drawn = _drawn(index, mistake, names)
        yield captioned(drawn, f"{place}. {title}", f": {caption_of(mistake)}", TILE_PX)


def _drawn(index: SplitIndex, mistake: Mistakes, names: Mapping[int, str]) -> Image.Image:
    pair = mistake.pair
    canvas = Image.fromarray(read_resized(index.paths[pair.image], TILE_PX, augmenting=False))
    pen = ImageDraw.Draw(canvas)
    height, width = index.sizes_hw[pair.image].tolist()
    scale = np.array([canvas.width / width, canvas.height / height] * 2)

    labels, predictions = _named(pair.labels[:, 0], names), _named(pair.detections[:, 5], names)

    for row in np.flatnonzero(mistake.label_of >= 0)[::-1].tolist():
        pen.rectangle(_corners(pair.detections[row, :4] * scale), outline=FOUND, width=1)
    confused = set(mistake.taken_for[mistake.taken_for >= 0].tolist())
    for row in np.flatnonzero(~mistake.found).tolist():
        corners = _corners(pair.labels[row, 1:] * scale)
        _dashed(pen, corners, MISSED)
        if row not in confused and _has_room(corners):
            draw_label(pen, labels[row], corners[:2], _TEXT_PX, MISSED)
    for row in np.flatnonzero(mistake.label_of < 0)[::-1].tolist():
        corners = _corners(pair.detections[row, :4] * scale)
        pen.rectangle(corners, outline=FALSE, width=_THICK_PX)
        if not _has_room(corners):
            continue
        text = f"{predictions[row]} {pair.detections[row, 4]:.2f}"
        if mistake.taken_for[row] >= 0:
            text += f", is {labels[mistake.taken_for[row]]}"
        draw_label(pen, text, corners[:2], _TEXT_PX, FALSE)
    return canvas


def _named(classes: np.ndarray, names: Mapping[int, str]) -> list[str]:
    return [names.get(number, str(number)) for number in classes.astype(int).tolist()]


def _corners(box_xyxy: np.ndarray) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = box_xyxy.round().astype(int).tolist()
    return x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)


def _has_room(corners: tuple[int, int, int, int]) -> bool:
    x1, y1, x2, y2 = corners
    return max(x2 - x1, y2 - y1) >= _LEAST_NAMED_PX


def _dashed(pen: ImageDraw.ImageDraw, corners: tuple[int, int, int, int], colour: Rgb) -> None:
    x1, y1, x2, y2 = corners
    for x in range(x1, x2 + 1, 2 * _DASH_PX):
        for y in (y1, y2):
            pen.line((x, y, min(x + _DASH_PX, x2), y), fill=colour, width=_THICK_PX)
    for y in range(y1, y2 + 1, 2 * _DASH_PX):
        for x in (x1, x2):
            pen.line((x, y, x, min(y + _DASH_PX, y2)), fill=colour, width=_THICK_PX)


def _legend(width: int) -> np.ndarray:
    canvas = Image.new("RGB", (width, 2 * STRIP_PX), PAPER)
    pen, font = ImageDraw.Draw(canvas), label_font(CAPTION_PX)
    left, top, bottom = 8, 14, 2 * STRIP_PX - 14
    for text, colour in (
        ("missed: a label without a detection", MISSED),
        ("false: a detection without a label", FALSE),
        ("found", FOUND),
    ):
        box = (left, top, left + 44, bottom)
        if colour == MISSED:
            _dashed(pen, box, colour)
        else:
            pen.rectangle(box, outline=colour, width=_THICK_PX if colour == FALSE else 1)
        pen.text((left + 54, top), text, fill=INK, font=font)
        left += 54 + int(font.getlength(text)) + 30
    return np.asarray(canvas)
