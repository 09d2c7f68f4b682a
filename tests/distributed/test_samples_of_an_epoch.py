"""Order and augmentation of an epoch do not depend on processes, workers, or how workers are started."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp
from accel_yolo.data.index import build_index
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.order import share
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.workers import Workers

BATCH, EPOCH, SEED = 9, 3, 11
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


def digests(samples: TrainSamples, processes: int, workers: int, start_method: str | None = None) -> dict[int, str]:
    """Return position -> SHA-256 of pixels and labels of one epoch, gathered over the shares of all processes."""
    found: dict[int, str] = {}
    for rank in range(processes):
        loader = TrainLoader(samples, BATCH, share(BATCH, rank, processes), Workers(workers, start_method))
        for batch in loader.epoch(EPOCH):
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
