"""Samples by key: what they read, and how often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accel_yolo.config.schema import Hyp
from accel_yolo.data.images import ALL_ROWS
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.order import share
from accel_yolo.data.partners import PartnerGroups
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.samples import TrainSamples

SIDE, COUNT, BATCH, GROUP = 32, 96, 4, 8


class Counting:
    """Images of one size that know how often they were read."""

    sizes_hw = np.full((COUNT, 2), SIDE)

    def __init__(self) -> None:
        self.read: Counter[int] = Counter()

    def load(self, index: int, rows: slice = ALL_ROWS) -> np.ndarray:
        self.read[index] += 1
        return np.full((SIDE, SIDE, 3), index, np.uint8)[rows]

    def labels_of(self, index: int) -> np.ndarray:
        return np.zeros((0, 5), np.float32)

    def polygons_of(self, index: int) -> list[np.ndarray]:
        return []


def epoch_of(images: Counting, places: range, group: int) -> list[np.ndarray]:
    """Return the pixels of an epoch at some places of the batch, rendered in the order of the steps."""
    groups = PartnerGroups(COUNT, BATCH, group) if group else None
    source = PlanSource(images.sizes_hw, SIDE, Hyp(mixup=0.3), groups=groups)
    samples = TrainSamples(images, source, 0, images.load)  # pyright: ignore[reportArgumentType]
    pixels = []
    for step in range(COUNT // BATCH):
        for place in places:
            pixels.append(np.zeros((SIDE, SIDE, 3), np.uint8))
            samples.render(Key(0, step * BATCH + place), pixels[-1])
    return pixels


@pytest.mark.parametrize("renderers", [1, 2, 3, 4])
def test_with_partner_groups_each_image_is_decoded_once_an_epoch_whoever_renders(renderers: int) -> None:
    images = Counting()
    for number in range(renderers):
        epoch_of(images, share(BATCH, number, renderers), GROUP)
    assert images.read == dict.fromkeys(range(COUNT), 1)


def test_without_them_an_image_is_decoded_whenever_it_is_shown() -> None:
    images = Counting()
    epoch_of(images, range(BATCH), 0)
    assert images.read.total() > 3 * COUNT


def test_who_renders_does_not_change_what_partner_groups_show() -> None:
    together = epoch_of(Counting(), range(BATCH), GROUP)
    for place in range(BATCH):
        alone = epoch_of(Counting(), range(place, place + 1), GROUP)
        assert all(np.array_equal(*pair) for pair in zip(alone, together[place::BATCH], strict=True))


def test_images_are_kept_until_the_last_step_of_their_group_and_no_longer() -> None:
    images = Counting()
    groups = PartnerGroups(COUNT, BATCH, GROUP)
    samples = TrainSamples(images, PlanSource(images.sizes_hw, SIDE, Hyp(), groups=groups), 0, images.load)  # pyright: ignore[reportArgumentType]
    into = np.zeros((SIDE, SIDE, 3), np.uint8)
    for step in range(COUNT // BATCH):
        for place in range(BATCH):
            position = step * BATCH + place
            samples.render(Key(0, position), into)
            (_, kept) = samples._held[place]
            assert len(kept) <= len(groups.of(position))
    assert len(samples._held) == BATCH
