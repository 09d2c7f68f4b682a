"""Labels follow the plan, exactly and without pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from accel_yolo.config.schema import Hyp
from accel_yolo.data.copy_paste import CopyPaste
from accel_yolo.data.geometry import IDENTITY
from accel_yolo.data.labels import labels_for, objects_on_canvas, scene_labels
from accel_yolo.data.mosaic import Tile
from accel_yolo.data.order import Stream
from accel_yolo.data.plan import Mixup, PlanSource, SamplePlan, Scene, plan_sample

WHOLE = Tile(0, (100, 200), (0, 0, 200, 100), (0, 0, 200, 100), (0, 0, 200, 100))
STILL = Scene((WHOLE,), (100, 200), IDENTITY, 1.0, (100, 200))
SQUARE = np.array([(0.1, 0.2), (0.3, 0.2), (0.3, 0.6), (0.1, 0.6)], dtype=np.float32)
NOTHING = np.zeros((0, 2), dtype=np.float32)


class OneImage:
    """The annotations of every image."""

    def __init__(self, rows: list[tuple[float, ...]], polygons: list[np.ndarray] | None = None) -> None:
        self.rows = np.array(rows, dtype=np.float32).reshape(-1, 5)
        self.polygons = polygons or [NOTHING] * len(rows)

    def labels_of(self, index: int) -> np.ndarray:
        return self.rows

    def polygons_of(self, index: int) -> list[np.ndarray]:
        return self.polygons


def plan_of(scene: Scene, **changes: object) -> SamplePlan:
    return replace(SamplePlan(scene, None, None, False, False), **changes)  # type: ignore[arg-type]


def test_nothing_moves_in_a_still_scene() -> None:
    row = (3, 0.2, 0.4, 0.2, 0.4)
    labels = labels_for(plan_of(STILL), OneImage([row]))
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels, [row], atol=1e-6)


@pytest.mark.parametrize(
    ("flips", "centre"),
    [
        ({"flip_lr": True}, (0.8, 0.4)),
        ({"flip_ud": True}, (0.2, 0.6)),
        ({"flip_lr": True, "flip_ud": True}, (0.8, 0.6)),
    ],
)
def test_flips_mirror_the_centre_and_keep_the_size(flips: dict[str, bool], centre: tuple[float, float]) -> None:
    labels = labels_for(plan_of(STILL, **flips), OneImage([(3, 0.2, 0.4, 0.2, 0.4)]))
    np.testing.assert_allclose(labels, [(3, *centre, 0.2, 0.4)], atol=1e-6)


def test_images_without_objects_give_no_labels() -> None:
    labels = labels_for(plan_of(STILL), OneImage([]))
    assert labels.shape == (0, 5)
    assert labels.dtype == np.float32


def test_boxes_end_a_thousandth_of_a_pixel_inside_the_far_borders() -> None:
    labels = labels_for(plan_of(STILL), OneImage([(0, 0.5, 0.5, 1, 1)]))
    far = labels[0, 1:3] + labels[0, 3:5] / 2
    np.testing.assert_allclose(far, (199.999 / 200, 99.999 / 100), atol=2e-7)


def test_what_the_canvas_cuts_off_is_gone() -> None:
    tile = Tile(0, (100, 200), (0, 0, 100, 100), (100, 0, 200, 100), (0, 0, 200, 100))
    scene = replace(STILL, tiles=(tile,))
    objects = objects_on_canvas(scene, OneImage([(0, 0.55, 0.5, 0.2, 0.5), (1, 0.2, 0.5, 0.2, 0.5)]))
    np.testing.assert_allclose(objects.boxes_xyxy, [(0, 25, 30, 75), (0, 25, 0, 75)], atol=1e-4)
    assert scene_labels(scene, OneImage([(0, 0.55, 0.5, 0.2, 0.5), (1, 0.2, 0.5, 0.2, 0.5)]))[:, 0].tolist() == [0]


def test_labels_of_a_resized_tile_follow_the_resize() -> None:
    tile = Tile(0, (100, 200), (50, 25, 150, 75), (0, 0, 200, 100), (0, 0, 200, 100))
    labels = labels_for(plan_of(replace(STILL, tiles=(tile,))), OneImage([(0, 0.5, 0.5, 0.2, 0.4)]))
    np.testing.assert_allclose(labels, [(0, 0.5, 0.5, 0.1, 0.2)], atol=1e-6)


def test_an_outline_gives_a_tighter_box_than_its_corners_when_turned() -> None:
    cosine = float(np.sqrt(0.5))
    # A turn by 45 degrees about the centre (100, 50) of the canvas.
    matrix = (
        (cosine, cosine, 100 - 150 * cosine),
        (-cosine, cosine, 50 + 50 * cosine),
        (0.0, 0.0, 1.0),
    )
    diamond = np.array([(0.5, 0.3), (0.6, 0.5), (0.5, 0.7), (0.4, 0.5)], dtype=np.float32)
    row = (0, 0.5, 0.5, 0.2, 0.4)
    scene = replace(STILL, matrix=matrix)
    loose = labels_for(plan_of(scene), OneImage([row]))
    tight = labels_for(plan_of(scene), OneImage([row], [diamond]))
    np.testing.assert_allclose(loose[0, 3:] * (200, 100), 40 * np.sqrt(2), atol=1e-3)
    np.testing.assert_allclose(tight[0, 3:] * (200, 100), 40 * np.sqrt(0.5), atol=0.2)


def test_outlines_count_label_by_label_when_a_file_mixes_them_with_boxes() -> None:
    rows = [(0, 0.2, 0.4, 0.2, 0.4), (1, 0.7, 0.5, 0.2, 0.4)]
    inset = SQUARE * 0.5 + np.array((0.1, 0.2), dtype=np.float32)
    labels = labels_for(plan_of(STILL), OneImage(rows, [inset, NOTHING]))
    assert labels[0, 3] < 0.11
    np.testing.assert_allclose(labels[1], rows[1], atol=1e-6)


def test_only_a_twentieth_left_keeps_an_outline_and_drops_a_box() -> None:
    # Of the 40 px wide square at x = 20..60, the last 2.4 px stay in view.
    shifted = ((1.0, 0.0, -57.6), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    scene, row = replace(STILL, matrix=shifted), (0, 0.2, 0.4, 0.2, 0.4)
    assert len(labels_for(plan_of(scene), OneImage([row]))) == 0
    assert len(labels_for(plan_of(scene), OneImage([row], [SQUARE]))) == 1


def test_mixup_adds_the_labels_of_the_second_scene() -> None:
    shifted = ((1.0, 0.0, 50.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    plan = plan_of(STILL, mixup=Mixup(replace(STILL, matrix=shifted), 0.5), flip_lr=True)
    labels = labels_for(plan, OneImage([(3, 0.2, 0.4, 0.2, 0.4)]))
    np.testing.assert_allclose(labels, [(3, 0.8, 0.4, 0.2, 0.4), (3, 0.55, 0.4, 0.2, 0.4)], atol=1e-6)


def test_copies_are_labelled_and_a_plain_box_is_never_copied() -> None:
    paste = CopyPaste(1.0, seed=0, epoch=0, position=0, stream=Stream.COPY_PASTE)
    scene = replace(STILL, copy_paste=paste)
    rows = [(4, 0.2, 0.4, 0.2, 0.4), (5, 0.15, 0.85, 0.1, 0.2)]
    labels = labels_for(plan_of(scene), OneImage(rows, [SQUARE, NOTHING]))
    assert labels[:, 0].tolist() == [4, 5, 4]
    np.testing.assert_allclose(labels[2], (4, 0.8, 0.4, 0.2, 0.4), atol=1e-6)
    assert len(labels_for(plan_of(scene), OneImage(rows))) == 2


def test_labels_of_full_plans_are_inside_the_picture_and_larger_than_two_pixels(make_pictures: Callable) -> None:
    pictures = make_pictures(64, outlined=True)
    hyp = Hyp(degrees=30, shear=5, perspective=3e-4, mixup=0.5, copy_paste=0.5, flipud=0.5, mosaic=0.8)
    source, seen = PlanSource(pictures.sizes_hw, 64, hyp), 0
    for position in range(200):
        labels = labels_for(plan_sample(source, 0, 0, position), pictures)
        low, high = labels[:, 1:3] - labels[:, 3:5] / 2, labels[:, 1:3] + labels[:, 3:5] / 2
        assert (low > -1e-6).all()
        assert (high < 1 + 1e-6).all()
        assert (labels[:, 3:5] * 64 > 1.99).all()
        seen += len(labels)
    assert seen > 200
