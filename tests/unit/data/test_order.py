"""The order of an epoch, its generators, and the shares of the processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from accel_yolo.data.order import RectLayout, Stream, epoch_order, generator, index_at, share, steps_per_epoch
from accel_yolo.errors import ConfigError


def test_equal_keys_give_equal_numbers() -> None:
    assert (generator(3, 1, 7, Stream.COLOUR).random(9) == generator(3, 1, 7, Stream.COLOUR).random(9)).all()


@pytest.mark.parametrize(
    "other", [(4, 1, 7, Stream.COLOUR), (3, 2, 7, Stream.COLOUR), (3, 1, 8, Stream.COLOUR), (3, 1, 7, Stream.FLIP)]
)
def test_each_part_of_the_key_matters(other: tuple[int, int, int, Stream]) -> None:
    assert (generator(3, 1, 7, Stream.COLOUR).random(9) != generator(*other).random(9)).all()


def test_neighbouring_positions_are_uncorrelated() -> None:
    draws = np.array([generator(0, 0, position, Stream.FLIP).random() for position in range(2000)])
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.08
    assert abs(draws.mean() - 0.5) < 0.03


@given(st.integers(1, 300), st.integers(0, 2**32), st.integers(0, 1000))
def test_an_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(count, seed, epoch).tolist()) == list(range(count))


def test_epochs_and_seeds_differ_in_order() -> None:
    first = epoch_order(100, 0, 0)
    assert (first != epoch_order(100, 0, 1)).any()
    assert (first != epoch_order(100, 1, 0)).any()


def test_an_order_cannot_be_changed_by_one_of_its_users() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(10, 0, 0)[0] = 3


def test_positions_past_the_end_wrap_so_that_the_last_batch_is_full() -> None:
    order = epoch_order(10, 0, 0)
    assert steps_per_epoch(10, 4) == 3
    assert [index_at(order, position) for position in range(8, 12)] == order[[8, 9, 0, 1]].tolist()


def test_steps_cover_every_image_once() -> None:
    assert [steps_per_epoch(count, 16) for count in (1, 16, 17, 128)] == [1, 1, 2, 8]


def test_64_images_on_3_processes_are_21_21_22() -> None:
    assert [len(share(64, rank, 3)) for rank in range(3)] == [21, 21, 22]


@given(st.integers(1, 40), st.integers(1, 8), st.data())
def test_shares_are_the_whole_batch_in_order_and_even(groups: int, group: int, data: st.DataObject) -> None:
    world = data.draw(st.integers(1, groups))
    batch = groups * group
    shares = [share(batch, rank, world, group) for rank in range(world)]
    assert [place for part in shares for place in part] == list(range(batch))
    assert all(part.start % group == 0 for part in shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= group


def test_a_batch_smaller_than_the_processes_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"fewer images in a batch than the 3 processes.*--batch 3 or more"):
        share(2, 0, 3)


def test_fewer_groups_than_processes_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"groups of 8 images.*--batch 24"):
        share(16, 0, 3, group=8)


def test_a_batch_that_cuts_a_group_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no multiple of the BatchNorm group"):
        share(20, 0, 2, group=8)


@pytest.mark.parametrize(
    ("pad_strides", "shapes"),
    [
        (0.5, [(448, 672)] * 2 + [(512, 672)] * 3 + [(672, 672), (672, 608), (672, 512)]),
        (0.0, [(448, 640)] * 2 + [(480, 640)] * 3 + [(640, 640), (640, 608), (640, 480)]),
    ],
)
def test_rectangular_shapes_of_real_images_are_the_recorded_ones(
    reference_dir: Path, pad_strides: float, shapes: list[tuple[int, int]]
) -> None:
    sizes = []
    for path in sorted((reference_dir / "data" / "coco128" / "images").rglob("*.jpg")):
        with Image.open(path) as image:
            sizes.append((image.height, image.width))
    layout = RectLayout.plan(np.array(sizes), 16, imgsz=640, stride=32, pad_strides=pad_strides)
    assert [tuple(shape) for shape in layout.shapes_hw.tolist()] == shapes


@given(st.lists(st.tuples(st.integers(10, 900), st.integers(10, 900)), min_size=1, max_size=50), st.integers(1, 9))
def test_rectangular_training_sorts_by_aspect_and_every_batch_fits(sizes: list[tuple[int, int]], batch: int) -> None:
    sizes_hw = np.array(sizes)
    layout = RectLayout.plan(sizes_hw, batch, imgsz=320, stride=32)
    aspect = (sizes_hw[:, 0] / sizes_hw[:, 1])[layout.order]
    assert (np.diff(aspect) >= 0).all()
    assert sorted(layout.order.tolist()) == list(range(len(sizes)))
    assert len(layout.shapes_hw) == steps_per_epoch(len(sizes), batch)
    assert (layout.shapes_hw % 32 == 0).all()
    for position, ratio in enumerate(aspect):
        height, width = layout.shape_at(position)
        needed = (320 * min(ratio, 1), 320 * min(1 / ratio, 1))
        assert height >= needed[0] - 1e-6
        assert width >= needed[1] - 1e-6


def test_a_short_last_rectangular_batch_is_filled_within_its_own_shape(make_pictures: Callable) -> None:
    layout = RectLayout.plan(make_pictures(64).sizes_hw, 3, imgsz=64, stride=32)
    assert {layout.shape_at(position) for position in (6, 7, 8)} == {tuple(layout.shapes_hw[2].tolist())}


@given(st.integers(1, 300), st.integers(1, 8), st.integers(1, 40), st.integers(0, 3), st.data())
@settings(max_examples=500)
def test_an_epoch_is_the_same_on_any_number_of_processes_and_from_any_step_on(
    count: int, world: int, groups: int, epoch: int, data: st.DataObject
) -> None:
    """A step is one number, and all that a run needs to know to go on, with as many processes as there are then."""
    batch = max(groups, world)
    order, steps = epoch_order(count, 5, epoch), steps_per_epoch(count, batch)

    def images(processes: int, first: int, last: int) -> list[int]:
        shown = []
        for step in range(first, last):
            for rank in range(processes):
                places = share(batch, rank, processes)
                shown += [index_at(order, step * batch + place) for place in places]
        return shown

    alone = images(1, 0, steps)
    assert sorted(alone[:count]) == list(range(count)), "each image once, before the last batch is filled up"
    assert alone[count:] == [alone[place % count] for place in range(count, steps * batch)]
    stopped = data.draw(st.integers(0, steps))
    others = data.draw(st.integers(1, batch).filter(lambda processes: processes <= 8))
    assert images(world, 0, stopped) + images(others, stopped, steps) == alone
