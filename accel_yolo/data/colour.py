"""Colour jitter in hue, saturation and value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from accel_yolo.config.schema import Hyp

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
    """Change the colours of an RGB uint8 [H, W, 3] image in place."""
    import cv2

    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, hsv_tables(gains), dst=hsv)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=image)
