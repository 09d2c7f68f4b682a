"""Partner groups: every position in exactly one, whoever asks, and small enough to be kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.config.schema import Hyp
from accel_yolo.data.order import epoch_order, index_at, steps_per_epoch
from accel_yolo.data.partners import PartnerGroups
from accel_yolo.data.plan import PlanSource, plan_on_canvas

COUNTS = st.integers(1, 700)
BATCHES = st.integers(1, 70)
SIZES = st.integers(1, 40)


@given(COUNTS, BATCHES, SIZES)
@settings(max_examples=60)
def test_every_position_is_in_exactly_one_group(count: int, batch: int, size: int) -> None:
    groups = PartnerGroups(count, batch, size)
    steps = steps_per_epoch(count, batch)
    for position in range(steps * batch):
        group = groups.of(position)
        number = group.number_of(position)
        assert group[number] == position
        assert all(groups.of(group[other]) == group for other in (0, len(group) // 2, len(group) - 1))


@given(COUNTS, BATCHES, SIZES)
def test_a_group_has_the_size_asked_for_and_less_than_six_times_as_many(count: int, batch: int, size: int) -> None:
    groups = PartnerGroups(count, batch, size)
    positions = steps_per_epoch(count, batch) * batch
    for position in range(0, positions, 7):
        assert min(size, positions) <= len(groups.of(position)) < 6 * size


def test_in_a_long_epoch_a_group_is_one_place_of_the_batch_over_some_steps() -> None:
    groups = PartnerGroups(count=118_287, batch=64, size=16)
    group = groups.of(64 * 100 + 5)
    assert group.places == range(5, 6)
    assert len(group) == 16
    assert 100 in group.steps


def test_groups_of_neighbouring_places_begin_at_different_steps() -> None:
    groups = PartnerGroups(count=64 * 1000, batch=64, size=16)
    starts = Counter(groups.of(64 * 500 + place).steps.start for place in range(64))
    assert len(starts) == 16
    assert set(starts.values()) == {4}


def grouped(count: int, batch: int, size: int, **hyp: float) -> PlanSource:
    sizes = np.full((count, 2), 64)
    return PlanSource(sizes, 64, Hyp(**hyp), groups=PartnerGroups(count, batch, size))


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_a_mosaic_shows_images_of_its_group_only_and_none_twice(mixup: float) -> None:
    source = grouped(count=640, batch=8, size=16, mixup=mixup)
    order = epoch_order(640, 3, 2)
    for position in range(0, 640, 3):
        plan = plan_on_canvas(source, 3, 2, position)
        members = source.groups.of(position)
        images = {index_at(order, members[number]) for number in range(len(members))}
        assert set(plan.indices()) <= images
        assert len({tile.index for tile in plan.scene.tiles}) == 4


def test_over_an_epoch_every_image_is_shown_about_four_times() -> None:
    source = grouped(count=960, batch=16, size=16)
    shown = Counter(index for position in range(960) for index in plan_on_canvas(source, 0, 0, position).indices())
    assert len(shown) == 960
    assert sum(shown.values()) == 4 * 960
    assert max(shown.values()) <= 14


@pytest.mark.parametrize("batch", [8, 64])
def test_groups_too_small_for_a_mosaic_repeat_their_images(batch: int) -> None:
    source = grouped(count=3, batch=batch, size=2)
    for position in range(batch):
        assert set(plan_on_canvas(source, 0, 0, position).indices()) <= {0, 1, 2}


def test_another_epoch_has_other_partners() -> None:
    source = grouped(count=640, batch=8, size=16)
    partners = []
    for epoch in range(2):
        order = epoch_order(640, 0, epoch).tolist()
        plan = plan_on_canvas(source, 0, epoch, order.index(7))
        partners.append({tile.index for tile in plan.scene.tiles} - {7})
    assert partners[0] != partners[1]
