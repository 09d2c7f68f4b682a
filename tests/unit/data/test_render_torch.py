"""The device shows what OpenCV shows, within the tolerances that the functions state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.config.schema import Hyp
from accel_yolo.data.colour import hsv_tables, jitter
from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.geometry import IDENTITY
from accel_yolo.data.images import ALL_ROWS, read_resized
from accel_yolo.data.mosaic import Tile
from accel_yolo.data.order import RectLayout
from accel_yolo.data.plan import PlanSource, SamplePlan, Scene, plan_sample
from accel_yolo.data.plan_tables import batch_tables, sample_row
from accel_yolo.data.render_cpu import render
from accel_yolo.data.render_torch import (
    compose,
    jitter_colour,
    mix,
    render_tables,
    warp,
)
from accel_yolo.errors import ConfigError
from accel_yolo.letterbox import FILL

SIDE = 192
CPU = torch.device("cpu")
COLOURLESS = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}
DIRECT = {
    "mosaic": Hyp(flipud=0.5, **COLOURLESS),
    "strong zoom": Hyp(scale=0.9, flipud=0.5, **COLOURLESS),
    "single": Hyp(mosaic=0, flipud=0.5, **COLOURLESS),
    "unmoved": Hyp(mosaic=0, scale=0, translate=0, **COLOURLESS),
}
WARPED = {
    "turned and sheared": Hyp(degrees=20, shear=5, flipud=0.5, **COLOURLESS),
    "perspective": Hyp(degrees=5, perspective=4e-4, mosaic=0.5, flipud=0.5, **COLOURLESS),
}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
EXACT_WARPS = int(cv2.__version__.split(".")[0]) >= 5


class Photos:
    """Images of many sizes with smooth areas, hard edges and a little noise."""

    def __init__(self, count: int = 12, side: int = SIDE) -> None:
        rng = np.random.default_rng(7)
        self.images = [self._image(rng, side) for _ in range(count)]
        self.sizes_hw = np.array([image.shape[:2] for image in self.images])
        self.held = DeviceImages.load(self.load, self.sizes_hw, CPU)

    @staticmethod
    def _image(rng: np.random.Generator, side: int) -> np.ndarray:
        shorter = int(rng.integers(side // 2, side + 1))
        size = (side, shorter) if rng.random() < 0.5 else (shorter, side)
        image = cv2.resize(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
        for _ in range(6):
            corner, far = (rng.integers(0, side, 2).tolist() for _ in range(2))
            cv2.rectangle(image, corner, far, rng.integers(0, 256, 3).tolist(), -1)
        noisy = image.astype(np.float32) + rng.normal(0, 4, image.shape)
        return noisy.clip(0, 255).astype(np.uint8)

    def load(self, index: int, rows: slice = ALL_ROWS) -> np.ndarray:
        return self.images[index][rows]


@pytest.fixture(scope="module")
def photos() -> Photos:
    return Photos()


def planned(photos: Photos, hyp: Hyp, count: int = 16) -> list[SamplePlan]:
    return [plan_sample(PlanSource(photos.sizes_hw, SIDE, hyp), 0, 0, position) for position in range(count)]


def render_batch(plans: Sequence[SamplePlan], images: DeviceImages, out_hw: tuple[int, int]) -> torch.Tensor:
    """Return the pixels of planned samples of one size, uint8 [B, H, W, 3]."""
    return render_tables(batch_tables([sample_row(plan) for plan in plans], out_hw), images)


def differences(plans: Sequence[SamplePlan], photos: Photos) -> np.ndarray:
    """Return how far each byte of the two renderers is apart."""
    pixels = render_batch(plans, photos.held, plans[0].out_hw)
    assert pixels.dtype == torch.uint8
    expected = np.stack([render(plan, photos.load, None) for plan in plans])  # pyright: ignore[reportArgumentType]
    return np.abs(pixels.numpy().astype(int) - expected)


@pytest.mark.parametrize("recipe", DIRECT)
def test_direct_tiles_differ_by_one_level_at_most(photos: Photos, recipe: str) -> None:
    plans = planned(photos, DIRECT[recipe])
    assert not any(plan.scene.is_warped for plan in plans)
    apart = differences(plans, photos)
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.005


@pytest.mark.parametrize("recipe", WARPED)
def test_warps_differ_by_one_level_at_most_where_coordinates_are_not_rounded(photos: Photos, recipe: str) -> None:
    plans = planned(photos, WARPED[recipe])
    assert all(plan.scene.is_warped for plan in plans)
    apart = differences(plans, photos)
    assert apart.max() <= (1 if EXACT_WARPS else 16)
    assert apart.mean() < (0.01 if EXACT_WARPS else 0.3)


def test_mixed_scenes_differ_by_two_levels_at_most(photos: Photos) -> None:
    plans = planned(photos, Hyp(mixup=0.5, **COLOURLESS))
    assert 0 < sum(plan.mixup is not None for plan in plans) < len(plans)
    apart = differences(plans, photos)
    assert apart.max() <= 2
    assert (apart > 0).mean() < 0.02


def test_direct_and_warped_mixed_and_plain_samples_share_a_batch(photos: Photos) -> None:
    plans = planned(photos, DIRECT["mosaic"], 5) + planned(photos, WARPED["perspective"], 5)
    plans += planned(photos, Hyp(mixup=0.5, mosaic=0.7, **COLOURLESS), 6)
    plans = [plans[place] for place in np.random.default_rng(1).permutation(len(plans))]
    apart = differences(plans, photos)
    assert apart.max() <= (2 if EXACT_WARPS else 16)
    for plan, pixels in zip(plans, render_batch(plans, photos.held, (SIDE, SIDE)), strict=True):
        assert torch.equal(render_batch([plan], photos.held, (SIDE, SIDE))[0], pixels), "neighbours change nothing"


def test_batches_of_rectangular_training(photos: Photos) -> None:
    layout = RectLayout.plan(photos.sizes_hw, 3, imgsz=SIDE)
    source = PlanSource(photos.sizes_hw, SIDE, Hyp(**COLOURLESS), rect=layout)
    for first in range(0, 12, 3):
        plans = [plan_sample(source, 0, 0, first + place) for place in range(3)]
        assert differences(plans, photos).max() <= 1


def test_real_images_with_the_default_recipe(coco128: Path) -> None:
    files = sorted((coco128.parent / "coco128").rglob("*.jpg"))[:32]
    images = [read_resized(str(file), 320, augmenting=True) for file in files]
    sizes = np.array([image.shape[:2] for image in images])
    held = DeviceImages.load(images.__getitem__, sizes, CPU)
    plans = [plan_sample(PlanSource(sizes, 320, Hyp(mixup=0.2)), 0, 0, position) for position in range(16)]
    pixels = render_batch(plans, held, (320, 320)).numpy().astype(int)
    apart = np.abs(pixels - np.stack([render(plan, lambda index, rows: images[index][rows], None) for plan in plans]))  # pyright: ignore
    assert (apart > 1).mean() < 0.001
    assert apart.mean() < 0.02


sides = st.integers(1, 60)


@settings(max_examples=60)
@given(st.data())
def test_a_tile_of_any_size_is_a_resize(data: st.DataObject) -> None:
    height, width = data.draw(sides), data.draw(sides)
    part = []
    for side in (width, height):
        begin = data.draw(st.integers(0, side - 1))
        part.append((begin, data.draw(st.integers(begin + 1, side))))
    x1, y1 = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    shown_w, shown_h = data.draw(sides), data.draw(sides)
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (left, right), (top, bottom) = part
    tile = Tile(0, (height, width), (x1, y1, x1 + shown_w, y1 + shown_h), (left, top, right, bottom), (0, 0, 80, 80))
    plan = SamplePlan(Scene((tile,), (80, 80), IDENTITY, 1.0, (80, 80)), None, None, False, False)
    held = DeviceImages.load(lambda index, rows=ALL_ROWS: image[rows], [(height, width)], CPU)
    pixels = render_batch([plan], held, (80, 80))[0].numpy()
    expected = render(plan, lambda index, rows=ALL_ROWS: image[rows], None)  # pyright: ignore[reportArgumentType]
    assert np.abs(pixels.astype(int) - expected).max() <= 1
    if (shown_h, shown_w) == (bottom - top, right - left):
        np.testing.assert_array_equal(pixels, expected)


def test_flips_turn_the_finished_picture(photos: Photos) -> None:
    for hyp in (DIRECT["mosaic"], WARPED["perspective"]):
        (plan,) = planned(photos, hyp, 1)
        plans = [replace(plan, flip_ud=up, flip_lr=left) for up in (False, True) for left in (False, True)]
        upright, left, up, both = render_batch(plans, photos.held, (SIDE, SIDE)).to(torch.int16)
        for turned, dims in ((left, (1,)), (up, (0,)), (both, (0, 1))):
            apart = (turned.flip(dims) - upright).abs()
            assert apart.max() <= (1 if plan.scene.is_warped else 0)


def test_what_no_tile_covers_is_grey(photos: Photos) -> None:
    empty = SamplePlan(Scene((), (32, 64), IDENTITY, 1.0, (32, 64)), None, None, False, True)
    assert (render_batch([empty], photos.held, (32, 64)) == FILL).all()


def test_a_horizon_inside_the_picture_is_no_error(photos: Photos) -> None:
    (plan,) = planned(photos, WARPED["perspective"], 1)
    matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.02, 0.0, -1.0))
    plan = replace(plan, scene=replace(plan.scene, matrix=matrix))
    assert render_batch([plan], photos.held, (SIDE, SIDE)).shape == (1, SIDE, SIDE, 3)


def test_copied_objects_are_refused_in_one_line(photos: Photos) -> None:
    (plan,) = planned(photos, Hyp(copy_paste=1.0), 1)
    with pytest.raises(ConfigError, match="copy-paste .* in --cache: device; use --cache without"):
        render_batch([plan], photos.held, (SIDE, SIDE))


def test_the_number_of_scenes_does_not_change_the_shapes_that_are_rendered(photos: Photos) -> None:
    hyp = Hyp(mixup=0.5, degrees=3, mosaic=0.5)
    shapes = set()
    for epoch in range(4):
        plans = [plan_sample(PlanSource(photos.sizes_hw, SIDE, hyp), 0, epoch, position) for position in range(8)]
        tables = batch_tables([sample_row(plan) for plan in plans], (SIDE, SIDE))
        shapes |= {(group.canvas_hw, group.chunk) for group in tables.groups}
        assert all(len(group.tiles) % group.chunk == 0 for group in tables.groups)
    assert len(shapes) == 2


def test_colours_change_last_or_are_left_to_the_network_input(photos: Photos) -> None:
    plans = planned(photos, Hyp(mixup=0.5, flipud=0.5), 8)
    tables = batch_tables([sample_row(plan) for plan in plans], (SIDE, SIDE))
    assert tables.gains is not None
    plain = render_tables(tables, photos.held, colour=False)
    changed = jitter_colour(plain, torch.from_numpy(tables.gains))
    assert torch.equal(render_batch(plans, photos.held, (SIDE, SIDE)), changed)
    assert not torch.equal(plain, changed)


@pytest.fixture(scope="module")
def all_colours() -> np.ndarray:
    """Every fourth level of each channel, and the darkest ones, in all combinations."""
    levels = np.unique(np.concatenate((np.arange(0, 256, 4), np.arange(12), [255]))).astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(len(levels), -1, 3)


GAINS = ((1.0124, 1.31, 0.83), (0.9861, 0.62, 1.35), (0.9919, 1.69, 0.61), (1.0051, 0.31, 1.39), (1.613, 1.9, 0.2))


@pytest.mark.parametrize("gains", GAINS, ids=str)
def test_colours_change_as_on_the_cpu(all_colours: np.ndarray, gains: tuple[float, float, float]) -> None:
    changed = jitter_colour(torch.from_numpy(all_colours)[None], torch.tensor([gains]))[0].numpy().astype(int)
    expected = all_colours.copy()
    jitter(expected, gains)
    tabled = cv2.LUT(cv2.cvtColor(all_colours, cv2.COLOR_RGB2HSV), hsv_tables(gains))
    for other in (expected, cv2.cvtColor(tabled, cv2.COLOR_HSV2RGB)):
        apart = np.abs(changed - other)
        assert apart.max() <= 9
        assert (apart > 1).mean() < 0.001
        assert (apart > 0).mean() < 0.02


@settings(max_examples=25)
@given(st.tuples(st.floats(0, 2, width=32), st.floats(0, 2, width=32), st.floats(0, 2, width=32)), st.integers(0, 99))
def test_no_gain_moves_colours_further_than_one_hue(gains: tuple[float, float, float], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    tabled = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), hsv_tables(gains))
    changed = jitter_colour(torch.from_numpy(image)[None], torch.tensor([gains]))[0].numpy().astype(int)
    if gains != (1, 1, 1):
        assert np.abs(changed - cv2.cvtColor(tabled, cv2.COLOR_HSV2RGB)).max() <= 9


def test_gains_of_one_and_none_change_nothing(all_colours: np.ndarray) -> None:
    images = torch.from_numpy(np.stack((all_colours, all_colours)))
    assert jitter_colour(images, None) is images
    first, second = jitter_colour(images, torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.5]]))
    assert torch.equal(first, images[0])
    assert not torch.equal(second, images[1])


def test_every_function_of_pixels_is_one_graph_that_never_asks_for_a_value(photos: Photos) -> None:
    (group,) = batch_tables(
        [sample_row(plan) for plan in planned(photos, WARPED["perspective"], 4)], (SIDE, SIDE)
    ).groups[:1]
    assert group.to_canvas is not None

    def one_graph(function: Callable) -> Callable:
        return torch.compile(function, fullgraph=True, dynamic=False, backend="eager")

    tiles, flips, to_canvas = (torch.from_numpy(each) for each in (group.tiles, group.flips, group.to_canvas))
    canvas = one_graph(compose)(photos.held, tiles, flips, group.canvas_hw)
    pixels = one_graph(warp)(canvas, to_canvas, (SIDE, SIDE))
    mixed = one_graph(mix)(pixels, pixels.flip(0), torch.full((len(pixels),), 0.4))
    batch = one_graph(jitter_colour)(mixed, torch.full((len(pixels), 3), 1.01))
    assert torch.equal(pixels, warp(compose(photos.held, tiles, flips, group.canvas_hw), to_canvas, (SIDE, SIDE)))
    assert batch.shape == (len(pixels), SIDE, SIDE, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_shows_what_the_processor_shows_and_nobody_waits_for_it(photos: Photos, device: str) -> None:
    held = DeviceImages(*(each.to(device) for each in (photos.held.pixels, photos.held.offsets, photos.held.sizes_hw)))
    for hyp in (DIRECT["mosaic"], WARPED["perspective"], Hyp(mixup=0.5, flipud=0.5)):
        plans = planned(photos, hyp, 6)
        tables = batch_tables([sample_row(plan) for plan in plans], (SIDE, SIDE))
        if device == "cuda":
            render_tables(tables, held)  # the first time, memory is allocated
            torch.cuda.set_sync_debug_mode("error")
        try:
            pixels = render_tables(tables, held)
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        apart = (pixels.cpu().to(torch.int16) - render_tables(tables, photos.held).to(torch.int16)).abs()
        assert (apart > 1).float().mean() < 0.001


def test_pictures_with_known_objects_show_them_in_the_same_place(make_pictures: Callable) -> None:
    pictures = make_pictures(SIDE)
    sizes = [pictures.loaded_hw(index) for index in range(len(pictures))]
    held = DeviceImages.load(pictures.load, sizes, CPU)
    source = PlanSource(pictures.sizes_hw, SIDE, Hyp(degrees=10, mosaic=0.5, **COLOURLESS))
    plans = [plan_sample(source, 0, 0, position) for position in range(8)]
    for plan, pixels in zip(plans, render_batch(plans, held, (SIDE, SIDE)).numpy(), strict=True):
        expected = render(plan, pictures.load, pictures)
        for index in plan.indices():
            found, wanted = (pictures.found_xyxy(image, index) for image in (pixels, expected))
            assert (found is None) == (wanted is None)
            assert found is None or np.abs(np.subtract(found, wanted)).max() <= 1
