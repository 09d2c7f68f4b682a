"""Order and augmentation of an epoch do not depend on processes, workers, or how workers are started."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp
from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.device_loader import DeviceLoader
from accel_yolo.data.index import build_index
from accel_yolo.data.loader import HostBatch, TrainLoader
from accel_yolo.data.order import RectLayout, share
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.partners import PartnerGroups
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.planned_samples import PlannedSamples
from accel_yolo.data.quad import QuadSamples
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.user_augmentation import UserAugmentation
from accel_yolo.data.weighting import by_average_precision, by_repeat_factor
from accel_yolo.data.workers import Workers

BATCH, EPOCH, SEED = 9, 3, 11
QUAD_BATCH = 12
# Everything random is switched on.
RECIPE = Hyp(mosaic=0.7, mixup=0.5, degrees=10, shear=2, perspective=0.0005, flipud=0.3, copy_paste=0.5)


@pytest.fixture(scope="module")
def samples(sparse_data: Path) -> TrainSamples:
    spec = load_data_spec(sparse_data)
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=1)
    return TrainSamples(index, PlanSource(index.sizes_hw, 64, RECIPE), SEED, DecodedImages(index, 64, augmenting=True))


def digest(image: Tensor, labels: np.ndarray) -> str:
    content = hashlib.sha256(np.asarray(image).tobytes())
    content.update(np.ascontiguousarray(labels, dtype=np.float32).tobytes())
    return content.hexdigest()


def digests(
    samples: TrainSamples | QuadSamples,
    processes: int,
    workers: int,
    start_method: str | None = None,
    class_ap: tuple = (),
) -> dict[int, str]:
    """Return position -> SHA-256 of pixels and labels of one epoch, gathered over the shares of all processes.

    Units of `--quad` have positions of their own.
    """
    found: dict[int, str] = {}
    batch_size = BATCH if samples.unit == 1 else QUAD_BATCH
    for rank in range(processes):
        places = share(batch_size // samples.unit, rank, processes)
        loader = TrainLoader(samples, batch_size, places, Workers(workers, start_method))
        for batch in loader.epoch(EPOCH, class_ap):
            for place, position in enumerate(batch.positions):
                labels = batch.targets[batch.targets[:, 0] == place, 1:]
                assert position not in found
                found[position] = digest(batch.images[place], labels)
    return found


@pytest.fixture(scope="module")
def expected(samples: TrainSamples) -> dict[int, str]:
    found = digests(samples, processes=1, workers=0)
    assert sorted(found) == list(range(27)), "26 images fill three batches of 9; the last position wraps around"
    assert len(set(found.values())) == 27
    return found


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_the_same_samples(samples: TrainSamples, expected: dict, processes: int) -> None:
    assert digests(samples, processes, workers=0) == expected


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_render_the_same_samples(samples: TrainSamples, expected: dict, workers: int) -> None:
    assert digests(samples, processes=1, workers=workers) == expected


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_the_start_method_of_workers_does_not_matter(samples: TrainSamples, expected: dict, start_method: str) -> None:
    assert digests(samples, processes=2, workers=1, start_method=start_method) == expected


def test_another_epoch_or_seed_gives_other_samples(samples: TrainSamples, expected: dict) -> None:
    decoded = DecodedImages(samples.index, 64, augmenting=True)
    other = TrainSamples(samples.index, samples.source, SEED + 1, decoded)
    assert not set(digests(other, 1, 0).values()) & set(expected.values())
    loader = TrainLoader(samples, BATCH, range(BATCH), Workers())
    first = next(loader.epoch(EPOCH + 1))
    assert digest(first.images[0], first.targets[first.targets[:, 0] == 0, 1:]) != expected[0]


def test_persistent_workers_follow_the_epoch(samples: TrainSamples) -> None:
    loader = TrainLoader(samples, BATCH, range(BATCH), Workers(1))
    alone = TrainLoader(samples, BATCH, range(BATCH), Workers())
    for epoch in (0, 1):
        for batch, other in zip(loader.epoch(epoch), alone.epoch(epoch), strict=True):
            assert np.array_equal(batch.images, other.images)
            assert np.array_equal(batch.targets, other.targets)


Variant = Callable[[SplitIndex], dict[str, Any]]
VARIANTS: dict[str, Variant] = {
    "rect": lambda index: {"rect": RectLayout.plan(index.sizes_hw, BATCH, imgsz=64)},
    "close-mosaic": lambda _: {"mosaic_epochs": EPOCH},
    "image-weights": lambda index: {"draw": by_average_precision(index, (0.0,) * 3)},
    "class-balanced": lambda index: {"draw": by_repeat_factor(index, 0.5)},
    "decode-once": lambda index: {"groups": PartnerGroups(len(index), BATCH, 6)},
    "decode-once, image-weights": lambda index: {
        "groups": PartnerGroups(len(index), BATCH, 6),
        "draw": by_average_precision(index, (0.0,) * 3),
    },
}


def varied(samples: TrainSamples, variant: str) -> TrainSamples:
    source = PlanSource(samples.index.sizes_hw, 64, RECIPE, **VARIANTS[variant](samples.index))
    return TrainSamples(samples.index, source, SEED, DecodedImages(samples.index, 64, augmenting=True))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_recipe_shows_the_same_samples_on_1_2_and_3_processes_and_with_workers(
    samples: TrainSamples, expected: dict, variant: str
) -> None:
    alone = digests(varied(samples, variant), 1, 0)
    assert sorted(alone) == list(range(27)) and alone != expected
    assert digests(varied(samples, variant), 2, 0) == alone
    assert digests(varied(samples, variant), 3, 1, "spawn" if variant == "image-weights" else None) == alone


def test_an_order_by_average_precision_is_the_same_on_1_2_and_3_processes_and_with_workers(
    samples: TrainSamples,
) -> None:
    weighted = varied(samples, "image-weights")
    class_ap = (0.9, 0.125, 1 / 3)
    alone = digests(weighted, 1, 0, None, class_ap)
    assert alone != digests(weighted, 1, 0), "the AP of the last validation decides"
    assert digests(varied(samples, "image-weights"), 2, 0, None, class_ap) == alone
    assert digests(varied(samples, "image-weights"), 3, 2, None, class_ap) == alone


def test_a_device_that_renders_follows_the_same_order_on_1_2_and_3_processes(samples: TrainSamples) -> None:
    index, class_ap = samples.index, (0.9, 0.125, 1 / 3)
    # What is copied needs outlines, which a device does not draw.
    hyp, draw = replace(RECIPE, copy_paste=0.0), by_average_precision(index, (0.0,) * 3)
    source = PlanSource(index.sizes_hw, 64, hyp, draw=draw)
    load = DecodedImages(index, 64, augmenting=True)
    held = DeviceImages.load(load, [source.loaded_hw(image) for image in range(len(index))], torch.device("cpu"))

    def epoch(rank: int, processes: int, workers: int = 0) -> list[HostBatch]:
        planned = PlannedSamples(index, source, SEED)
        places = share(BATCH, rank, processes)
        return list(DeviceLoader(planned, held, BATCH, places, Workers(workers)).epoch(EPOCH, class_ap))

    alone = epoch(0, 1)
    others = TrainLoader(TrainSamples(index, source, SEED, load, colour=False), BATCH, range(BATCH), Workers())
    for batch, other in zip(alone, others.epoch(EPOCH, class_ap), strict=True):
        assert batch.positions == other.positions and np.array_equal(batch.targets, other.targets)
    for processes in (2, 3):
        shares = [epoch(rank, processes, workers=processes - 2) for rank in range(processes)]
        for step, batch in enumerate(alone):
            assert torch.equal(batch.images, torch.cat([each[step].images for each in shares]))


@pytest.mark.parametrize("variant", ["rect", "decode-once, image-weights"])
def test_quad_shows_the_same_units_on_1_2_and_3_processes_and_with_workers(samples: TrainSamples, variant: str) -> None:
    def quads() -> QuadSamples:
        made: dict[str, Any] = dict(VARIANTS[variant](samples.index))
        if "rect" in made:
            made = {"rect": RectLayout.plan(samples.index.sizes_hw, QUAD_BATCH, imgsz=64)}
        if "groups" in made:
            made["groups"] = PartnerGroups(len(samples.index), QUAD_BATCH, 6)
        source = PlanSource(samples.index.sizes_hw, 64, RECIPE, **made)
        load = DecodedImages(samples.index, 64, augmenting=True)
        return QuadSamples(TrainSamples(samples.index, source, SEED, load))

    alone = digests(quads(), 1, 0)
    assert sorted(alone) == list(range(9)), "26 images are three batches of twelve samples, three units each"
    assert len(set(alone.values())) == 9
    assert digests(quads(), 2, 0) == alone
    assert digests(quads(), 3, 1, "spawn" if variant == "rect" else None) == alone


OWN = """
import random

import torch
from torchvision.transforms import v2

turned = v2.Compose([v2.RandomVerticalFlip(0.5), v2.RandomAffine(10, (0.1, 0.1)), v2.ColorJitter(0.4)])

def grain(image, target, generator):
    image, target = turned(image, target)
    noise = torch.randint(0, 9, image.shape[1:], generator=generator) + random.randint(0, 9)
    return (image + noise).clamp(max=255).to(torch.uint8), target
"""


def test_a_users_augmentation_gives_the_same_samples_on_1_2_and_3_processes_and_with_workers(
    samples: TrainSamples, expected: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grainy.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def augmented() -> TrainSamples:
        own = UserAugmentation("grainy:grain", 3, SEED)
        load = DecodedImages(samples.index, 64, augmenting=True)
        return TrainSamples(samples.index, samples.source, SEED, load, augment=own)

    alone = digests(augmented(), 1, 0)
    assert not set(alone.values()) & set(expected.values())
    assert digests(augmented(), 2, 1, "fork") == alone
    assert digests(augmented(), 3, 0) == alone
    assert digests(augmented(), 1, 1, "spawn") == alone
