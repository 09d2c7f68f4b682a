"""Hue, saturation and value."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from accel_yolo.config.schema import Hyp
from accel_yolo.data.colour import hsv_gains, hsv_tables, jitter, jitters_colour


def test_the_recorded_gains() -> None:
    draws = np.random.RandomState(3).uniform(-1, 1, 3)
    gains = hsv_gains(draws, Hyp(hsv_h=0.015, hsv_s=0.7, hsv_v=0.4))
    np.testing.assert_allclose(gains, (1.00152394, 1.29140695, 0.83272379), rtol=1e-8)


def test_hue_wraps_and_the_others_saturate() -> None:
    hue, saturation, value = np.moveaxis(hsv_tables((1.5, 1.5, 0.5))[0], -1, 0)
    assert hue[[100, 150]].tolist() == [150, 45]
    assert saturation[[100, 200]].tolist() == [150, 255]
    assert value[[101, 255]].tolist() == [50, 127]


def test_jitter_is_the_three_tables_in_hsv() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    gains = 1.00152394, 1.29140695, 0.83272379
    table = hsv_tables(gains)[0]
    changed = np.stack([table[hsv[..., channel], channel] for channel in range(3)], axis=-1)
    expected = cv2.cvtColor(changed, cv2.COLOR_HSV2RGB)
    jitter(image, gains)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("hue_gain", [0.98523, 1.31171, 1.91317], ids=["small", "wrapping", "beyond a byte"])
def test_jitter_follows_the_tables_at_every_level_and_gain(hue_gain: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    for number in range(50):
        gains = (hue_gain, *np.random.default_rng(number).uniform((0.3, 0.6), (1.7, 1.4)).tolist())
        expected = cv2.cvtColor(cv2.LUT(hsv, hsv_tables(gains)), cv2.COLOR_HSV2RGB)
        changed = image.copy()
        jitter(changed, gains)
        # Hues that wrap reach RGB by another way of rounding.
        assert np.abs(changed.astype(int) - expected).max() <= 1
        assert (changed != expected).any(-1).mean() < (0.05 if hue_gain > 1 else 0.02)


def test_grey_stays_grey_and_darkens_with_the_value() -> None:
    image = np.full((4, 4, 3), 200, dtype=np.uint8)
    jitter(image, (1.1, 1.7, 0.5))
    assert (image == 100).all()


@pytest.mark.parametrize("name", ["hsv_h", "hsv_s", "hsv_v"])
def test_one_gain_is_enough_to_jitter(name: str) -> None:
    still = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
    assert not jitters_colour(Hyp(**still))
    assert jitters_colour(Hyp(**{**still, name: 0.1}))
