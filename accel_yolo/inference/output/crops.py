"""Objects cut out of their images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_yolo.inference.output.encoding import write_image

if TYPE_CHECKING:
    from accel_yolo.inference.results import Detections

GAIN, MARGIN_PX = 1.02, 10


def enlarged_crop(image: NDArray[np.uint8], box_xyxy: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """Return a copy of the part of `image` [H, W, 3] in the box enlarged by GAIN and MARGIN_PX per side length.

    Never empty: at least one pixel is returned, whatever the box.
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    half_w, half_h = ((x2 - x1) * GAIN + MARGIN_PX) / 2, ((y2 - y1) * GAIN + MARGIN_PX) / 2
    left, top = _inside((x1 + x2) / 2 - half_w, width - 1), _inside((y1 + y2) / 2 - half_h, height - 1)
    right, bottom = _inside((x1 + x2) / 2 + half_w, width), _inside((y1 + y2) / 2 + half_h, height)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)].copy()


def save_crops(detections: Detections, folder: Path) -> None:
    """Write `folder/<class>/<stem>.jpg` for each object; further ones are numbered from 2 and replace nothing."""
    for found, crop in zip(detections, detections.crops(), strict=True):
        place = folder / safe_name(found.name)
        number = 1
        while (path := place / f"{detections.stem}{number if number > 1 else ''}.jpg").exists():
            number += 1
        write_image(path, crop)


def safe_name(name: str) -> str:
    """Return a class name as a folder name: names come with the weights and must not lead elsewhere ("../x")."""
    kept = "".join(letter if letter.isalnum() or letter in " -_." else "_" for letter in name)
    return kept.strip(" .") or "_"


def _inside(value: float, limit: int) -> int:
    return min(max(math.floor(value), 0), limit)
