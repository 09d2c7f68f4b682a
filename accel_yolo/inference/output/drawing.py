"""Boxes and labels on images."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from accel_yolo.inference.results import Detection

Rgb = tuple[int, int, int]

_GOLDEN = 0.618034
_SMALLEST_TEXT_PX = 9


@dataclass(frozen=True)
class DrawOptions:
    """How boxes are drawn.

    Attributes:
        line_thickness: width of the lines in px, at least 1.
        labels: write class names (and confidences).
        confidences: write confidences after the class names.
    """

    line_thickness: int = 3
    labels: bool = True
    confidences: bool = True


def class_colour(label: int) -> Rgb:
    """Return the colour of a class: neighbours in number are far apart in hue, whatever the number of classes."""
    hue = (0.02 + label * _GOLDEN) % 1.0
    lightness = (0.52, 0.40, 0.64)[label % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def text_colour(background: Rgb) -> Rgb:
    """Return black or white, whichever stands out more on `background` (WCAG 2.1 relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in background)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    black_contrast, white_contrast = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
    return (0, 0, 0) if black_contrast > white_contrast else (255, 255, 255)


def draw_boxes(image: NDArray[np.uint8], found: Iterable[Detection], options: DrawOptions) -> NDArray[np.uint8]:
    """Return a copy of `image` uint8 [H, W, 3] RGB with boxes and labels; later ones lie on top.

    Labels stand on their box, or in it where there is no room above, and never leave the image.
    """
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    thickness = max(1, options.line_thickness)
    size_px = max(_SMALLEST_TEXT_PX + 1, round(max(canvas.size) * 0.012 + 3 * thickness))
    for item in found:
        # The colour of a followed object is that of its track: it stays when objects meet.
        colour = class_colour(item.class_id if item.track_id is None else item.track_id)
        x1, y1, x2, y2 = (round(value) for value in item.box_xyxy)
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=thickness)
        if options.labels:
            draw_label(pen, _label(item, options), (x1, y1), size_px, colour)
    # A label may be wider than a very small image; Pillow clips at the border, so the size stays as it was.
    return np.asarray(canvas).copy()


def _label(item: Detection, options: DrawOptions) -> str:
    """Return "id 3 dog 0.87": the track where there is one, the name, the confidence unless hidden."""
    track = "" if item.track_id is None else f"id {item.track_id} "
    return f"{track}{item.name}" + (f" {item.confidence:.2f}" if options.confidences else "")


def draw_label(pen: ImageDraw.ImageDraw, text: str, corner_xy: tuple[int, int], size_px: int, colour: Rgb) -> None:
    """Write a text on a ground of a colour, above a corner of a box or, where there is no room, in it."""
    width, height = pen.im.size
    text, size_px = _fitted(text, size_px, width)
    font = label_font(size_px)
    pad = max(1, size_px // 6)
    label_w = min(width, int(font.getlength(text)) + 2 * pad + 1)
    ascent, descent = font.getmetrics()
    label_h = ascent + descent + pad
    left = min(max(corner_xy[0], 0), width - label_w)
    above = corner_xy[1] - label_h
    top = above if above >= 0 else min(max(corner_xy[1], 0), max(0, height - label_h))
    pen.rectangle((left, top, left + label_w - 1, top + label_h - 1), fill=colour)
    pen.text((left + pad, top + pad // 2), text, fill=text_colour(colour), font=font)


def _fitted(text: str, size_px: int, width: int) -> tuple[str, int]:
    """Return the text and its size such that it fits into `width` px: first smaller, then shortened."""
    while size_px > _SMALLEST_TEXT_PX and label_font(size_px).getlength(text) + size_px / 2 > width:
        size_px -= 1
    while len(text) > 1 and label_font(size_px).getlength(text) + size_px / 2 > width:
        text = text[:-2] + "…" if len(text) > 2 else text[:1]
    return text, size_px


@functools.lru_cache(maxsize=64)
def label_font(size_px: int) -> ImageFont.FreeTypeFont:
    """Return the font of labels, `size_px` high."""
    # The font that comes with matplotlib covers Latin, Greek and Cyrillic: class names are not always English.
    return ImageFont.truetype(str(_font_file()), size_px)


@functools.cache
def _font_file() -> Path:
    spec = find_spec("matplotlib")  # finds the package without running it, which takes longer than a prediction
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return path
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
