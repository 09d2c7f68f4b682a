"""Colour jitter in hue, saturation and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accel_yolo.config.schema import Hyp

LARGEST_HUE = 179
"""Hues are half degrees."""

_ROWS = 64
"""Rows that are changed at a time: what they take stays in the processor's cache and is never given back."""

HsvGains = tuple[float, float, float]
"""Factors of hue, saturation and value."""


def hsv_gains(draws: np.ndarray, hyp: Hyp) -> HsvGains:
    """Return the gains that three draws [3] from U(-1, 1) stand for."""
    hue, saturation, value = (1 + draws * (hyp.hsv_h, hyp.hsv_s, hyp.hsv_v)).tolist()
    return hue, saturation, value


def jitters_colour(hyp: Hyp) -> bool:
    """Return whether the recipe changes colours at all."""
    return bool(hyp.hsv_h or hyp.hsv_s or hyp.hsv_v)


def hsv_tables(gains: HsvGains) -> np.ndarray:
    """Return uint8 [1, 256, 3]: what each hue (0..179, wrapping), saturation and value becomes."""
    levels = np.arange(256, dtype=np.float64)
    hue = (levels * gains[0]) % 180
    saturation, value = (np.clip(levels * gain, 0, 255) for gain in gains[1:])
    return np.stack((hue, saturation, value), axis=-1).astype(np.uint8)[None]


def jitter(image: np.ndarray, gains: HsvGains) -> None:
    """Change the colours of an RGB uint8 [H, W, 3] image in place, as `hsv_tables` says.

    A product replaces the tables where hues still fit a byte: it takes a fifth of the time. It is the same but for
    products barely below a whole number, which are not truncated.
    """
    import cv2

    # Rounded, so half a level less truncates; a hair less than half, for products that are whole numbers.
    # Hues of 180 and more wrap on their way back to RGB.
    product = np.concatenate((np.diag(gains), np.full((3, 1), -0.4999)), axis=1)
    tables = None if gains[0] * LARGEST_HUE < 255 else hsv_tables(gains)
    for top in range(0, len(image), _ROWS):
        part = image[top : top + _ROWS]
        hsv = cv2.cvtColor(part, cv2.COLOR_RGB2HSV)
        if tables is None:
            cv2.transform(hsv, product, dst=hsv)
        else:
            cv2.LUT(hsv, tables, dst=hsv)
        cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=part)
