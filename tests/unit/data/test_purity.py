"""A sample is made of its key and of nothing else: no generator of the process, no worker, no cache has a say."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp
from accel_yolo.data.index import build_index
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.order import RectLayout
from accel_yolo.data.packed import DecodedImages, Packing
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.quad import QuadSamples
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.workers import Workers

SIZE, SEED = 64, 7
NOTHING = Hyp(
    mosaic=0, mixup=0, copy_paste=0, degrees=0, translate=0, scale=0, shear=0, perspective=0, flipud=0, fliplr=0,
    hsv_h=0, hsv_s=0, hsv_v=0,
)  # fmt: skip
AUGMENTATIONS: dict[str, dict[str, float]] = {
    "mosaic": {"mosaic": 1}, "mixup": {"mosaic": 1, "mixup": 1}, "copy_paste": {"mosaic": 1, "copy_paste": 1},
    "degrees": {"degrees": 20}, "translate": {"translate": 0.3}, "scale": {"scale": 0.5}, "shear": {"shear": 5},
    "perspective": {"perspective": 0.001}, "flipud": {"flipud": 0.5}, "fliplr": {"fliplr": 0.5},
    "hsv_h": {"hsv_h": 0.1},
    "hsv_s": {"hsv_s": 0.7}, "hsv_v": {"hsv_v": 0.4},
    "all": {"mosaic": 0.7, "mixup": 0.5, "copy_paste": 0.5, "degrees": 10, "shear": 2, "flipud": 0.3, "hsv_h": 0.1,
            "hsv_s": 0.7, "hsv_v": 0.4, "perspective": 0.0005},
}  # fmt: skip

Made = list[tuple[bytes, bytes, tuple[float, float, float]]]


@pytest.fixture(scope="module")
def index(sparse_data: Path) -> SplitIndex:
    return build_index(load_data_spec(sparse_data), "train", single_cls=False, bad_data="fail", workers=1)


def samples_of(index: SplitIndex, hyp: Hyp, load: Callable | None = None) -> TrainSamples:
    load = load or DecodedImages(index, SIZE, augmenting=True)
    return TrainSamples(index, PlanSource(index.sizes_hw, SIZE, hyp), SEED, load)


def made(samples: TrainSamples | QuadSamples, count: int = 12) -> Made:
    found = []
    for position in range(count):
        key = Key(1, position, ())
        image = np.full((*samples.out_hw_at(position), 3), 9, np.uint8)
        labels, gains = samples.render(key, image)
        found.append((image.tobytes(), labels.tobytes(), tuple(gains)))
    return found


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every global generator fails when it is asked for a number or given a seed."""

    def raising(*_: object, **__: object) -> None:
        raise AssertionError("a global generator was used")

    places = (
        (random, [name for name in dir(random) if name[0].islower() and callable(getattr(random, name))]),
        (np.random, [name for name in dir(np.random.mtrand.RandomState) if not name.startswith("_")]),
        (torch, ["rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "manual_seed", "seed"]),
        (torch.Tensor, ["random_", "uniform_", "normal_", "bernoulli_", "exponential_"]),
    )
    for place, names in places:
        for name in names:
            if hasattr(place, name):
                monkeypatch.setattr(place, name, raising)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_augmentation_asks_a_global_generator(name: str, index: SplitIndex, request: pytest.FixtureRequest) -> None:
    samples = samples_of(index, replace(NOTHING, **AUGMENTATIONS[name]))
    before = made(samples)
    plain = made(samples_of(index, NOTHING))
    assert before != plain, "it does something"
    request.getfixturevalue("poisoned")
    assert made(samples) == before


@pytest.mark.parametrize("name", ["all", "rect", "quad"])
def test_kept_pixels_give_the_same_bytes(name: str, index: SplitIndex, tmp_path: Path) -> None:
    packed = Packing.of(index, SIZE, augmenting=True, folder=tmp_path).open(1)
    hyp = replace(NOTHING, **AUGMENTATIONS["all"])

    def of(load: Callable) -> Made:
        if name == "rect":
            layout = RectLayout.plan(index.sizes_hw, 4, imgsz=SIZE)
            source = PlanSource(index.sizes_hw, SIZE, hyp, layout)
            return made(TrainSamples(index, source, SEED, load))
        samples = samples_of(index, hyp, load)
        return made(QuadSamples(samples), 4) if name == "quad" else made(samples)

    assert of(packed) == of(DecodedImages(index, SIZE, augmenting=True))


def test_three_workers_give_the_bytes_of_none(index: SplitIndex) -> None:
    samples = samples_of(index, replace(NOTHING, **AUGMENTATIONS["all"]))

    def shown(workers: int) -> list[tuple[bytes, bytes]]:
        loader = TrainLoader(samples, 6, range(6), Workers(workers, None))
        return [(batch.images.numpy().tobytes(), batch.targets.tobytes()) for batch in loader.epoch(2)]

    assert shown(3) == shown(0)
