"""Pixels follow the plan, and labels agree with pixels."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from accel_yolo.config.schema import Hyp
from accel_yolo.data.copy_paste import CopyPaste
from accel_yolo.data.geometry import IDENTITY
from accel_yolo.data.labels import labels_for
from accel_yolo.data.mosaic import Tile
from accel_yolo.data.order import RectLayout, Stream
from accel_yolo.data.plan import PlanSource, SamplePlan, Scene, plan_on_canvas, plan_sample
from accel_yolo.data.render_cpu import render
from accel_yolo.letterbox import FILL

SIDE = 192
COLOURLESS = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
STILL = {"translate": 0.0, "scale": 0.0, "fliplr": 0.0, **COLOURLESS}
RECIPES = {
    "mosaic": Hyp(flipud=0.5, **COLOURLESS),
    "strong zoom": Hyp(scale=0.9, flipud=0.5, **COLOURLESS),
    "single": Hyp(mosaic=0, flipud=0.5, **COLOURLESS),
    "unmoved": Hyp(mosaic=0, **STILL),
    "turned and sheared": Hyp(degrees=20, shear=5, flipud=0.5, **COLOURLESS),
    "perspective": Hyp(degrees=5, perspective=4e-4, mosaic=0.5, **COLOURLESS),
}


def label_xyxy(label: np.ndarray, plan: SamplePlan) -> np.ndarray:
    size = np.array((plan.out_hw[1], plan.out_hw[0]))
    return np.concatenate(((label[1:3] - label[3:5] / 2) * size, (label[1:3] + label[3:5] / 2) * size))


def checked_labels(plan: SamplePlan, pictures: object, inside_only: bool) -> int:
    """Compare each label with where its colour is; return how many were compared."""
    pixels, compared = render(plan, pictures.load, pictures), 0
    for label in labels_for(plan, pictures):
        wanted = label_xyxy(label, plan)
        cut = wanted.min() < 1 or (wanted[[2, 3]] > np.array(plan.out_hw)[::-1] - 1).any()
        # A picture shown twice has its colour in two places; of a turned rectangle that the border cuts, the extents
        # of the corners say more than what can be seen.
        if plan.indices().count(int(label[0])) > 1 or (cut and inside_only):
            continue
        found = pictures.found_xyxy(pixels, int(label[0]))
        assert found is not None
        np.testing.assert_allclose(found, wanted, atol=2)
        compared += 1
    return compared


@pytest.mark.parametrize("outlined", [False, True], ids=["boxes", "outlines"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_labels_agree_with_pixels(make_pictures: Callable, recipe: str, outlined: bool) -> None:
    compared = 0
    for seed in range(3):
        pictures = make_pictures(SIDE, seed, outlined)
        source = PlanSource(pictures.sizes_hw, SIDE, RECIPES[recipe])
        straight = source.hyp.degrees == source.hyp.perspective == 0
        for position in range(16):
            compared += checked_labels(plan_sample(source, seed, 0, position), pictures, not (straight or outlined))
    assert compared >= 20


def test_labels_agree_with_pixels_in_rectangular_training(make_pictures: Callable) -> None:
    pictures = make_pictures(SIDE)
    layout = RectLayout.plan(pictures.sizes_hw, 3, imgsz=SIDE)
    source = PlanSource(pictures.sizes_hw, SIDE, Hyp(**COLOURLESS), rect=layout)
    plans = [plan_sample(source, 0, 0, position) for position in range(9)]
    assert [render(plan, pictures.load, pictures).shape[:2] for plan in plans] == [plan.out_hw for plan in plans]
    assert sum(checked_labels(plan, pictures, False) for plan in plans) >= 7


@pytest.mark.parametrize("recipe", ["mosaic", "strong zoom", "single"])
def test_without_a_canvas_a_sample_is_the_same_but_for_half_a_pixel(make_pictures: Callable, recipe: str) -> None:
    pictures = make_pictures(SIDE)
    source = PlanSource(pictures.sizes_hw, SIDE, RECIPES[recipe])
    compared = 0
    for position in range(24):
        plan, on_canvas = plan_sample(source, 0, 0, position), plan_on_canvas(source, 0, 0, position)
        assert not plan.scene.is_warped
        direct, warped = (labels_for(each, pictures) for each in (plan, on_canvas))
        if len(direct) == len(warped):  # a sliver may be kept by one and dropped by the other
            np.testing.assert_array_equal(direct[:, 0], warped[:, 0])
            # Each edge of a tile is moved by half a pixel at most, in the output and (zoomed) in the image.
            edges = np.abs((direct[:, 1:] - warped[:, 1:]) @ [(1, 0), (0, 1), (0.5, 0), (0, 0.5)]) * SIDE
            assert edges.max(initial=0) < 1.6
            compared += 1
        pixels, expected = (render(each, pictures.load, pictures).astype(int) for each in (plan, on_canvas))
        blurred = (cv2.blur(each.astype(np.float32), (5, 5)) for each in (pixels, expected))
        assert np.abs(np.subtract(*blurred)).mean() < 4
    assert compared >= 20


def test_a_sample_may_be_written_into_a_place_of_a_batch(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    for hyp in (Hyp(), Hyp(degrees=10, mixup=0.5), Hyp(perspective=1e-3, fliplr=0), Hyp(copy_paste=0.5, fliplr=0)):
        for position in range(8):
            plan = plan_sample(PlanSource(pictures.sizes_hw, 64, hyp), 0, 0, position)
            batch = np.zeros((3, 64, 64, 3), np.uint8)
            written = render(plan, pictures.load, pictures, batch[1])
            assert np.shares_memory(written, batch)
            np.testing.assert_array_equal(batch[1], render(plan, pictures.load, pictures))
            assert not batch[[0, 2]].any()


def test_colours_may_be_left_to_the_device(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    plan = plan_sample(PlanSource(pictures.sizes_hw, 64, Hyp()), 0, 0, 2)
    assert plan.hsv_gains is not None
    plain = render(replace(plan, hsv_gains=None), pictures.load, pictures)
    np.testing.assert_array_equal(render(plan, pictures.load, pictures, colour=False), plain)
    assert (render(plan, pictures.load, pictures) != plain).any()


def test_a_sample_is_contiguous_rgb_bytes(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    source = PlanSource(pictures.sizes_hw, 64, Hyp(flipud=0.5, mixup=0.5, mosaic=0.5))
    for position in range(20):
        pixels = render(plan_sample(source, 0, 0, position), pictures.load, pictures)
        assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
        assert pixels.flags.c_contiguous


def test_what_no_tile_covers_is_grey(make_pictures: Callable) -> None:
    source = PlanSource(np.full((8, 2), (32, 64)), 64, Hyp(mosaic=0, **STILL))
    plan = plan_sample(source, 0, 0, 0)
    pixels = render(plan, lambda index, rows: np.zeros((32, 64, 3), np.uint8)[rows], make_pictures(64))
    assert (pixels[:16] == FILL).all()
    assert (pixels[16:48] == 0).all()
    assert (pixels[48:] == FILL).all()


def test_mixup_is_the_truncated_weighted_sum_of_its_scenes(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    source = PlanSource(pictures.sizes_hw, 64, Hyp(mixup=1.0, **COLOURLESS))
    for position in range(8):
        plan = replace(plan_sample(source, 0, 0, position), flip_lr=False)
        assert plan.mixup is not None
        first = render(replace(plan, mixup=None), pictures.load, pictures).astype(np.float64)
        second = render(replace(plan, mixup=None, scene=plan.mixup.scene), pictures.load, pictures)
        mixed = (plan.mixup.ratio * first + (1 - plan.mixup.ratio) * second).astype(np.uint8)
        # Where both are grey, the sum may fall a rounding error short of the whole number.
        difference = render(plan, pictures.load, pictures).astype(int) - mixed
        assert np.abs(difference).max() <= 1


def test_flips_turn_the_finished_picture(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    plan = plan_sample(PlanSource(pictures.sizes_hw, 64, Hyp()), 0, 0, 1)
    upright = render(replace(plan, flip_lr=False), pictures.load, pictures)
    for flip_ud, flip_lr in ((False, True), (True, False), (True, True)):
        expected = upright[:: -1 if flip_ud else 1, :: -1 if flip_lr else 1]
        pixels = render(replace(plan, flip_ud=flip_ud, flip_lr=flip_lr), pictures.load, pictures)
        np.testing.assert_array_equal(pixels, expected)


def test_colour_changes_pixels_and_nothing_else(make_pictures: Callable) -> None:
    pictures = make_pictures(64)
    plan = plan_sample(PlanSource(pictures.sizes_hw, 64, Hyp(mosaic=0, **STILL)), 0, 0, 0)
    dark = render(replace(plan, hsv_gains=(1.0, 1.0, 0.5)), pictures.load, pictures)
    assert (render(plan, pictures.load, pictures)[0, 0] == FILL).all()
    assert (dark[0, 0] == FILL // 2).all()


def test_a_copied_object_appears_mirrored_and_is_labelled(make_pictures: Callable) -> None:
    pictures, copied = make_pictures(SIDE, outlined=True), 0
    source = PlanSource(pictures.sizes_hw, SIDE, Hyp(mosaic=0, **STILL))
    for position in range(8):
        plan = plan_sample(source, 0, 0, position)
        paste = CopyPaste(1.0, seed=0, epoch=0, position=position, stream=Stream.COPY_PASTE)
        plan = replace(plan, scene=replace(plan.scene, copy_paste=paste))
        labels = labels_for(plan, pictures)
        boxes = np.array([label_xyxy(label, plan) for label in labels])
        found = pictures.found_xyxy(render(plan, pictures.load, pictures), int(labels[0, 0]))
        np.testing.assert_allclose(found, (*boxes[:, :2].min(0), *boxes[:, 2:].max(0)), atol=1.5)
        copied += len(labels) == 2
        if len(labels) == 2:
            np.testing.assert_allclose(boxes[0, [0, 2]], SIDE - boxes[1, [2, 0]], atol=0.01)
    assert copied


def test_a_copy_that_is_labelled_is_also_painted(make_pictures: Callable) -> None:
    pictures = make_pictures(SIDE, outlined=True)
    hyp = Hyp(copy_paste=1.0, **COLOURLESS)
    source = PlanSource(pictures.sizes_hw, SIDE, hyp)
    plans = [plan_sample(source, 0, 0, position) for position in range(20)]
    added = [len(labels_for(plan, pictures)) - len(labels_for(without_copies(plan), pictures)) for plan in plans]
    assert min(added) >= 0
    assert max(added) > 0
    changed = [
        (render(plan, pictures.load, pictures) != render(without_copies(plan), pictures.load, pictures)).any()
        for plan in plans
    ]
    assert all(difference for difference, count in zip(changed, added, strict=True) if count)


class Overlapping:
    """Two outlined squares that share a corner of 10 x 10 px, on every image of 100 x 200 px."""

    boxes_xyxy = ((0, 0, 30, 30), (20, 20, 50, 50))

    def labels_of(self, index: int) -> np.ndarray:
        rows = [(0, (x1 + x2) / 400, (y1 + y2) / 200, 0.15, 0.3) for x1, y1, x2, y2 in self.boxes_xyxy]
        return np.array(rows, dtype=np.float32)

    def polygons_of(self, index: int) -> list[np.ndarray]:
        corners = [np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]) for x1, y1, x2, y2 in self.boxes_xyxy]
        return [(each / (200, 100)).astype(np.float32) for each in corners]


def test_overlapping_objects_are_both_copied_whole() -> None:
    tile = Tile(0, (100, 200), (0, 0, 200, 100), (0, 0, 200, 100), (0, 0, 200, 100))
    paste = CopyPaste(1.0, seed=0, epoch=0, position=0, stream=Stream.COPY_PASTE)
    plan = SamplePlan(Scene((tile,), (100, 200), IDENTITY, 1.0, (100, 200), paste), None, None, False, False)
    assert len(labels_for(plan, Overlapping())) == 4
    image = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    pixels, mirrored = render(plan, lambda index, rows: image[rows], Overlapping()), image[:, ::-1]
    for x1, y1, x2, y2 in Overlapping.boxes_xyxy:
        region = slice(y1, y2), slice(200 - x2, 200 - x1)
        np.testing.assert_array_equal(pixels[region], mirrored[region])
    np.testing.assert_array_equal(pixels[60:], image[60:])


def without_copies(plan: SamplePlan) -> SamplePlan:
    return replace(plan, scene=replace(plan.scene, copy_paste=None))


def test_global_generators_are_neither_read_nor_moved(make_pictures: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(*args: object, **kwargs: object) -> None:
        raise AssertionError("a global generator was used")

    pictures = make_pictures(64, outlined=True)
    for module, names in (
        (random, "random uniform randint choice choices shuffle sample betavariate gauss seed"),
        (np.random, "random rand randn randint uniform normal choice shuffle permutation beta seed"),
        (torch, "rand randn randint randperm rand_like normal bernoulli manual_seed"),
        (cv2, "randu randn randShuffle setRNGSeed"),
    ):
        for name in names.split():
            monkeypatch.setattr(module, name, poisoned)
    state = np.random.get_state()[1].copy(), random.getstate(), torch.get_rng_state()
    hyp = Hyp(degrees=5, perspective=1e-4, mixup=0.5, copy_paste=0.5, flipud=0.5, mosaic=0.8)
    source = PlanSource(pictures.sizes_hw, 64, hyp)
    for position in range(30):
        plan = plan_sample(source, 0, 0, position)
        render(plan, pictures.load, pictures)
        labels_for(plan, pictures)
    assert (np.random.get_state()[1] == state[0]).all()
    assert random.getstate() == state[1]
    assert torch.equal(torch.get_rng_state(), state[2])


def test_the_same_plan_gives_the_same_bytes_for_any_number_of_threads(make_pictures: Callable) -> None:
    pictures = make_pictures(SIDE, outlined=True)
    hyp = Hyp(degrees=5, mixup=0.5, copy_paste=0.5, mosaic=0.8)
    plans = [plan_sample(PlanSource(pictures.sizes_hw, SIDE, hyp), 0, 0, position) for position in range(8)]
    threads = cv2.getNumThreads()
    try:
        rendered = []
        for count in (1, 3):
            cv2.setNumThreads(count)
            rendered.append([render(plan, pictures.load, pictures).tobytes() for plan in plans])
    finally:
        cv2.setNumThreads(threads)
    assert rendered[0] == rendered[1]
