"""Random perspective against recorded numbers of the reference, and its own properties."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_yolo.config.schema import Hyp
from accel_yolo.data.geometry import (
    IDENTITY,
    Draws,
    is_affine,
    project_boxes,
    project_points,
    project_polygons,
    resampled,
    still_objects,
)

# Recorded with Python's generator at the named seed; the draws come in the order of the fields of Draws.
MOSAIC_DRAWS = Draws.draw(random.Random(1).uniform, Hyp(degrees=0, translate=0.1, scale=0.5))
STRONG = Hyp(degrees=10, translate=0.2, scale=0.9, shear=5, perspective=5e-4)


def test_the_recorded_mosaic_matrix() -> None:
    matrix = MOSAIC_DRAWS.matrix((1280, 1280), (640, 640))
    expected = [[0.75506903, 0, -143.84027596], [0, 0.75506903, -126.28758753], [0, 0, 1]]
    np.testing.assert_allclose(matrix, expected, rtol=1e-7, atol=1e-8)
    assert is_affine(matrix)


def test_the_recorded_mosaic_boxes_and_which_are_kept() -> None:
    before = np.array([(600, 500, 800, 700), (10, 20, 60, 400), (900, 900, 905, 903)], dtype=np.float64)
    after = project_boxes(before, MOSAIC_DRAWS.matrix((1280, 1280), (640, 640)), (640, 640))
    np.testing.assert_allclose(after[0], (309.20114, 251.24693, 460.21494, 402.26073), atol=2e-5)
    np.testing.assert_allclose(after[2], (535.72185, 553.27454, 539.49719, 555.53974), atol=2e-5)
    assert still_objects(before * MOSAIC_DRAWS.scale, after).tolist() == [True, False, True]


def test_the_recorded_perspective_matrix_and_box() -> None:
    matrix = Draws.draw(random.Random(2).uniform, STRONG).matrix((480, 640), (480, 640))
    expected = [
        [0.41777803, 0.13843334, 196.53801135],
        [0.14191131, 0.33912307, 76.36104352],
        [4.5603427e-4, 4.4782749e-4, 0.74659044],
    ]
    np.testing.assert_allclose(matrix, expected, rtol=1e-7)
    assert not is_affine(matrix)
    box = project_boxes(np.array([(100, 100, 300, 200)], dtype=np.float64), matrix, (480, 640))
    np.testing.assert_allclose(box, [(301.27383, 148.70724, 361.69008, 191.94814)], atol=2e-5)


def test_the_recorded_candidates() -> None:
    before = np.array([(0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 100, 1), (0, 0, 10, 10)], dtype=np.float64)
    after = np.array([(0, 0, 2, 9), (0, 0, 3, 3), (0, 0, 301, 2.9), (0, 0, 3.3, 3.3)])
    assert still_objects(before, after).tolist() == [False, False, False, True]


def test_an_outline_may_lose_more_than_a_box() -> None:
    before, after = np.array([(0.0, 0.0, 100.0, 100.0)] * 2), np.array([(0.0, 0.0, 20.0, 20.0)] * 2)
    assert still_objects(before, after, np.array((0.10, 0.01))).tolist() == [False, True]


def test_a_box_that_has_no_image_is_dropped() -> None:
    lost = np.array([(np.nan, 0, np.inf, 5)])
    assert not still_objects(np.array([(0.0, 0.0, 5.0, 5.0)]), lost).any()


def test_a_recipe_without_geometry_is_exactly_the_identity() -> None:
    still = Hyp(degrees=0, translate=0, scale=0)
    assert Draws.draw(random.Random(0).uniform, still).matrix((427, 641), (427, 641)) == IDENTITY


def test_no_boxes_stay_no_boxes() -> None:
    assert project_boxes(np.zeros((0, 4)), IDENTITY, (9, 9)).shape == (0, 4)
    assert still_objects(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


@given(st.integers(0, 10**6))
def test_the_centre_goes_where_the_shift_says(seed: int) -> None:
    draws = Draws.draw(random.Random(seed).uniform, STRONG)
    centre = project_points(np.array((320.0, 240.0)), draws.matrix((480, 640), (320, 320)))
    np.testing.assert_allclose(centre, np.array(draws.shift_xy) * 320, atol=1e-6)


@given(st.integers(0, 10**6))
def test_every_draw_stays_in_its_range(seed: int) -> None:
    draws = Draws.draw(random.Random(seed).uniform, STRONG)
    assert all(abs(value) <= 5e-4 for value in draws.perspective_xy)
    assert abs(draws.angle_deg) <= 10
    assert 0.1 <= draws.scale <= 1.9
    assert all(abs(value) <= 5 for value in draws.shear_xy_deg)
    assert all(0.3 <= value <= 0.7 for value in draws.shift_xy)


@given(st.integers(0, 10**6))
def test_a_rectangle_as_outline_or_as_box_has_the_same_extents_while_inside(seed: int) -> None:
    matrix = Draws.draw(random.Random(seed).uniform, STRONG).matrix((480, 640), (480, 640))
    box = np.array([(300.0, 200.0, 360.0, 280.0)])
    outline = np.array([(300.0, 200.0), (360.0, 200.0), (360.0, 280.0), (300.0, 280.0)])
    corners = project_points(outline, matrix)
    if (corners < 0).any() or (corners > (640, 480)).any():
        return
    difference = project_boxes(box, matrix, (480, 640)) - project_polygons([outline], matrix, (480, 640))
    assert np.abs(difference).max() < 0.5


def test_outlines_of_different_length_are_resampled_together_as_one_by_one() -> None:
    triangle, square = np.array([(0.0, 0), (9, 0), (0, 9)]), np.array([(1.0, 1), (5, 1), (5, 5), (1, 5)])
    together = resampled([triangle, square], 1000)
    for number, polygon in enumerate((triangle, square)):
        closed = np.vstack((polygon, polygon[:1]))
        places = np.linspace(0, len(polygon), 1000)
        for axis in (0, 1):
            expected = np.interp(places, np.arange(len(closed)), closed[:, axis])
            np.testing.assert_allclose(together[axis, number], expected, atol=1e-12)


def test_an_outline_outside_the_output_leaves_zeros() -> None:
    outside = np.array([(-9.0, -9.0), (-5.0, -9.0), (-5.0, -5.0)])
    assert project_polygons([outside], IDENTITY, (10, 10)).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("shear", [0.0, 20.0])
def test_only_perspective_needs_a_division(shear: float) -> None:
    flat = Hyp(degrees=45, shear=shear, translate=0.3, scale=0.8)
    assert is_affine(Draws.draw(random.Random(5).uniform, flat).matrix((64, 64), (32, 32)))
