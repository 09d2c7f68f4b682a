"""Batches rendered on the device are those of the other loader, whoever plans them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from accel_yolo.config.schema import Hyp
from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.device_loader import DeviceLoader
from accel_yolo.data.loader import HostBatch, TrainLoader
from accel_yolo.data.order import RectLayout, share
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.planned_samples import PlannedSamples
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.workers import Workers
from accel_yolo.errors import ConfigError

SIDE, BATCH, SEED = 64, 5, 3
RECIPE = Hyp(mixup=0.3, flipud=0.4, mosaic=0.7)


@pytest.fixture(scope="module")
def pictures(make_pictures: Callable) -> Any:
    return make_pictures(SIDE)


@pytest.fixture(scope="module")
def held(pictures: Any) -> DeviceImages:
    sizes = [pictures.loaded_hw(index) for index in range(len(pictures))]
    return DeviceImages.load(pictures.load, sizes, torch.device("cpu"))


def device_batches(
    pictures: Any, held: DeviceImages, source: PlanSource, workers: int = 0, places: range = range(BATCH)
) -> list[HostBatch]:
    samples = PlannedSamples(pictures, source, SEED)
    return list(DeviceLoader(samples, held, BATCH, places, Workers(workers)).epoch(1))


@pytest.mark.parametrize("rect", [False, True], ids=["square", "rectangular"])
def test_pixels_labels_and_gains_are_those_of_the_other_loader(pictures: Any, held: DeviceImages, rect: bool) -> None:
    layout = RectLayout.plan(pictures.sizes_hw, BATCH, imgsz=SIDE) if rect else None
    source = PlanSource(pictures.sizes_hw, SIDE, RECIPE, rect=layout)
    samples = TrainSamples(pictures, source, SEED, pictures.load, colour=False)
    others = list(TrainLoader(samples, BATCH, range(BATCH), Workers()).epoch(1))
    batches = device_batches(pictures, held, source)
    assert len(batches) == len(others) == 2
    for batch, other in zip(batches, others, strict=True):
        assert (batch.images.to(torch.int16) - other.images.to(torch.int16)).abs().max() <= 2
        np.testing.assert_array_equal(batch.targets, other.targets)
        np.testing.assert_array_equal(batch.gains, other.gains)
        assert batch.positions == other.positions


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_plan_the_same_batches(pictures: Any, held: DeviceImages, workers: int) -> None:
    source = PlanSource(pictures.sizes_hw, SIDE, RECIPE)
    alone, planned = (device_batches(pictures, held, source, count) for count in (0, workers))
    for batch, other in zip(alone, planned, strict=True):
        assert torch.equal(batch.images, other.images)
        np.testing.assert_array_equal(batch.targets, other.targets)


def test_processes_share_the_same_samples(pictures: Any, held: DeviceImages) -> None:
    source = PlanSource(pictures.sizes_hw, SIDE, RECIPE)
    whole = device_batches(pictures, held, source)
    parts = [device_batches(pictures, held, source, places=share(BATCH, number, 2)) for number in range(2)]
    for step, batch in enumerate(whole):
        assert torch.equal(batch.images, torch.cat([part[step].images for part in parts]))
        assert batch.positions == sum((part[step].positions for part in parts), ())


def test_a_recipe_that_leaves_colours_alone_sends_no_gains(pictures: Any, held: DeviceImages) -> None:
    source = PlanSource(pictures.sizes_hw, SIDE, Hyp(hsv_h=0, hsv_s=0, hsv_v=0))
    assert all(batch.gains is None for batch in device_batches(pictures, held, source))


def test_copied_objects_are_refused_at_once(pictures: Any, held: DeviceImages) -> None:
    with pytest.raises(ConfigError, match="copy-paste"):
        device_batches(pictures, held, PlanSource(pictures.sizes_hw, SIDE, Hyp(copy_paste=0.1)))
