"""Plans are functions of (source, seed, epoch, position), with the distributions of the recipe."""

from __future__ import annotations

import multiprocessing
import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.config.schema import Hyp
from accel_yolo.data.order import RectLayout, epoch_order, index_at
from accel_yolo.data.plan import PlanSource, SamplePlan, plan_on_canvas, plan_sample

SIZES_HW = np.random.default_rng(0).integers(50, 900, size=(40, 2))
EVERYTHING = Hyp(
    degrees=10, shear=3, perspective=2e-4, flipud=0.3, mosaic=0.8, mixup=0.5, copy_paste=0.3, translate=0.2, scale=0.9
)
FULL = PlanSource(SIZES_HW, 64, EVERYTHING)
DEFAULT = PlanSource(SIZES_HW, 64, Hyp())


def many_on_canvas(source: PlanSource, count: int = 1500) -> list[SamplePlan]:
    return [plan_on_canvas(source, 0, 0, position) for position in range(count)]


def many(source: PlanSource, count: int = 1500) -> list[SamplePlan]:
    return [plan_sample(source, 0, 0, position) for position in range(count)]


@given(st.integers(0, 2**31), st.integers(0, 400), st.integers(0, 10**6))
@settings(max_examples=50)
def test_the_same_key_gives_the_same_plan(seed: int, epoch: int, position: int) -> None:
    assert plan_sample(FULL, seed, epoch, position) == plan_sample(FULL, seed, epoch, position)


def test_plans_do_not_depend_on_which_were_made_before() -> None:
    forwards = [plan_sample(FULL, 1, 2, position) for position in range(40)]
    backwards = [plan_sample(FULL, 1, 2, position) for position in reversed(range(40))]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_process_makes_the_same_plans(method: str) -> None:
    keys = [(FULL, 0, 1, position) for position in range(30)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(plan_sample, keys, chunksize=7) == [plan_sample(*key) for key in keys]


@pytest.mark.parametrize("other", [(1, 0, 5), (0, 1, 5), (0, 0, 6)])
def test_seed_epoch_and_position_each_change_the_plan(other: tuple[int, int, int]) -> None:
    assert plan_sample(FULL, 0, 0, 5) != plan_sample(FULL, *other)


def test_global_generators_are_neither_read_nor_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(*args: object, **kwargs: object) -> None:
        raise AssertionError("a global generator was used")

    for name in ("random", "uniform", "randint", "choice", "choices", "shuffle", "sample", "betavariate", "seed"):
        monkeypatch.setattr(random, name, poisoned)
    for name in ("random", "rand", "randn", "randint", "uniform", "choice", "shuffle", "permutation", "beta", "seed"):
        monkeypatch.setattr(np.random, name, poisoned)
    state = np.random.get_state()[1].copy(), random.getstate()
    for position in range(30):
        plan_sample(FULL, 0, 0, position)
    assert (np.random.get_state()[1] == state[0]).all()
    assert random.getstate() == state[1]


def test_a_plan_is_immutable_plain_data_that_travels() -> None:
    plan = plan_sample(FULL, 0, 0, 0)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert len({hash(plan), hash(pickle.loads(pickle.dumps(plan)))}) == 1
    with pytest.raises(FrozenInstanceError):
        plan.flip_lr = True  # type: ignore[misc]


def test_the_image_at_the_position_is_always_shown() -> None:
    order = epoch_order(len(SIZES_HW), 0, 0)
    for position, plan in enumerate(many(FULL, 60)):
        assert index_at(order, position) in [tile.index for tile in plan.scene.tiles]


def test_partners_are_any_image_of_the_epoch() -> None:
    shown = Counter(index for plan in many_on_canvas(DEFAULT, 1500) for index in plan.indices())
    assert set(shown) == set(range(40))
    assert max(abs(count - 150) for count in shown.values()) < 50


def test_the_image_at_the_position_comes_on_every_tile() -> None:
    places = Counter()
    order = epoch_order(len(SIZES_HW), 0, 0)
    for position, plan in enumerate(many_on_canvas(DEFAULT)):
        places[[tile.index for tile in plan.scene.tiles].index(index_at(order, position))] += 1
    assert min(places.values()) > 0.2 * 1500


def test_positions_past_the_end_wrap_to_other_views_of_the_first_images() -> None:
    still = PlanSource(SIZES_HW, 64, Hyp(mosaic=0))
    first, again = plan_on_canvas(still, 0, 0, 3), plan_on_canvas(still, 0, 0, 43)
    assert first.indices() == again.indices()
    assert first.scene.matrix != again.scene.matrix


@pytest.mark.parametrize(("name", "rate"), [("fliplr", 0.5), ("flipud", 0.2), ("mosaic", 0.7), ("mixup", 0.3)])
def test_each_choice_is_made_as_often_as_the_recipe_says(name: str, rate: float) -> None:
    happened = {
        "fliplr": lambda plan: plan.flip_lr,
        "flipud": lambda plan: plan.flip_ud,
        "mosaic": lambda plan: plan.scene.canvas_hw == (128, 128),
        "mixup": lambda plan: plan.mixup is not None,
    }[name]
    for share in (0.0, rate, 1.0):
        source = PlanSource(SIZES_HW, 64, replace(Hyp(), **{name: share}))
        seen = np.mean([happened(plan) for plan in many_on_canvas(source, 1000)])
        assert seen == share if share in (0.0, 1.0) else abs(seen - share) < 0.05


def test_mosaic_centres_are_uniform_over_the_middle_of_the_canvas() -> None:
    centres = np.array([plan.scene.tiles[3].canvas_xyxy[:2] for plan in many_on_canvas(DEFAULT)])
    assert centres.min() == 32
    assert centres.max() == 95
    assert np.abs(centres.mean(0) - 63.5).max() < 2
    assert np.abs(centres.std(0) - 64 / np.sqrt(12)).max() < 1
    assert abs(np.corrcoef(centres.T)[0, 1]) < 0.08


def test_scales_and_shifts_are_uniform_over_their_range() -> None:
    plans = many_on_canvas(DEFAULT)
    scales = np.array([plan.scene.scale for plan in plans])
    assert 0.5 <= scales.min() < 0.51
    assert 1.49 < scales.max() <= 1.5
    assert abs(scales.mean() - 1) < 0.03
    shifts = np.array([np.array(plan.scene.matrix) @ (64, 64, 1) for plan in plans])[:, :2] / 64
    assert 0.4 <= shifts.min() < 0.41
    assert 0.59 < shifts.max() <= 0.6


def test_colour_gains_are_in_their_range_and_independent() -> None:
    gains = np.array([plan.hsv_gains for plan in many(DEFAULT)])
    units = (gains - 1) / (0.015, 0.7, 0.4)
    assert np.abs(units).max() <= 1
    assert (np.abs(units).max(0) > 0.99).all()
    assert np.abs(np.corrcoef(units.T) - np.eye(3)).max() < 0.08


def test_no_colour_is_planned_without_gains() -> None:
    assert plan_sample(PlanSource(SIZES_HW, 64, Hyp(hsv_h=0, hsv_s=0, hsv_v=0)), 0, 0, 0).hsv_gains is None


def test_mixup_has_a_mosaic_of_its_own_and_a_ratio_around_one_half() -> None:
    plans = many_on_canvas(PlanSource(SIZES_HW, 64, Hyp(mixup=1.0)))
    ratios = np.array([plan.mixup.ratio for plan in plans if plan.mixup])
    assert abs(ratios.mean() - 0.5) < 0.01
    assert abs(ratios.std() - np.sqrt(1 / (4 * 65))) < 0.005
    assert all(plan.mixup and plan.mixup.scene.matrix != plan.scene.matrix for plan in plans)
    assert all(plan.mixup and len(plan.mixup.scene.tiles) == 4 for plan in plans)


def test_without_a_mosaic_there_is_no_mixup_and_no_copy_paste() -> None:
    for plan in many(PlanSource(SIZES_HW, 64, Hyp(mosaic=0, mixup=1, copy_paste=1)), 50):
        assert plan.mixup is None
        assert plan.scene.copy_paste is None


def test_one_choice_does_not_shift_the_numbers_of_another() -> None:
    plain, mixed = DEFAULT, replace(DEFAULT, hyp=replace(Hyp(), mixup=1.0, flipud=0.5, copy_paste=0.5))
    for position in range(30):
        one, other = plan_on_canvas(plain, 0, 0, position), plan_on_canvas(mixed, 0, 0, position)
        assert (one.scene.tiles, one.scene.matrix, one.hsv_gains) == (
            other.scene.tiles,
            other.scene.matrix,
            other.hsv_gains,
        )
        assert one.flip_lr == other.flip_lr


def test_a_recipe_without_augmentation_leaves_the_letterboxed_image_alone() -> None:
    bare = Hyp(mosaic=0, translate=0, scale=0, fliplr=0, hsv_h=0, hsv_s=0, hsv_v=0)
    for plan in many(PlanSource(SIZES_HW, 64, bare), 40):
        assert not plan.scene.is_warped
        assert (plan.hsv_gains, plan.flip_ud, plan.flip_lr) == (None, False, False)


def test_only_what_zoom_and_shift_cannot_do_needs_a_canvas() -> None:
    for hyp, needs_canvas in (
        (Hyp(), False),
        (Hyp(mixup=1.0), False),
        (Hyp(mosaic=0), False),
        (Hyp(degrees=10), True),
        (Hyp(shear=5), True),
        (Hyp(perspective=1e-4), True),
        (Hyp(copy_paste=0.5), True),
    ):
        plans = many(PlanSource(SIZES_HW, 64, hyp), 20)
        assert {plan.scene.is_warped for plan in plans} == {needs_canvas}
        assert {plan.mixup.scene.is_warped for plan in plans if plan.mixup} <= {needs_canvas}


def test_rectangular_training_follows_its_layout_without_mosaic() -> None:
    layout = RectLayout.plan(SIZES_HW, 16, imgsz=64)
    source = PlanSource(SIZES_HW, 64, Hyp(), rect=layout)
    for position in range(48):
        plan = plan_sample(source, 0, 3, position)
        assert plan.indices() == (layout.order[position % 40],)
        assert plan.out_hw == layout.shape_at(position) == source.out_hw_at(position)


def test_the_source_travels_to_workers(make_pictures: Callable) -> None:
    copy = pickle.loads(pickle.dumps(FULL))
    assert plan_sample(copy, 0, 0, 9) == plan_sample(FULL, 0, 0, 9)
    pictures = make_pictures(64)
    assert PlanSource(pictures.sizes_hw, 64, Hyp()).loaded_hw(2) == pictures.loaded_hw(2)


def test_the_last_epochs_show_no_mosaics_and_nothing_that_comes_with_them() -> None:
    closing = replace(FULL, hyp=replace(EVERYTHING, mosaic=1.0, mixup=1.0, copy_paste=1.0), mosaic_epochs=3)
    for epoch in (3, 4, 9):
        for position in range(20):
            plan = plan_sample(closing, 0, epoch, position)
            assert len(plan.indices()) == 1 and plan.mixup is None and plan.scene.copy_paste is None
    before = [plan_sample(closing, 0, 2, position) for position in range(20)]
    assert all(plan.mixup is not None and len(set(plan.indices())) > 1 for plan in before)


def test_closing_mosaics_changes_nothing_before_and_only_the_choice_of_the_scene_after() -> None:
    closing, never = replace(FULL, mosaic_epochs=3), replace(FULL, hyp=replace(EVERYTHING, mosaic=0.0))
    for position in range(20):
        assert plan_sample(closing, 0, 2, position) == plan_sample(FULL, 0, 2, position)
        assert plan_sample(closing, 0, 3, position) == plan_sample(never, 0, 3, position)
