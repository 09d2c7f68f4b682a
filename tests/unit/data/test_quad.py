"""`--quad`: four samples in a row become one image of twice the size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from accel_yolo.config.schema import Hyp
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.order import RectLayout
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.quad import QuadSamples
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.workers import Workers

SIDE, SEED, UNITS = 64, 3, 40


@pytest.fixture(scope="module")
def samples(make_pictures: Callable) -> TrainSamples:
    pictures: Any = make_pictures(SIDE)
    return TrainSamples(pictures, PlanSource(pictures.sizes_hw, SIDE, Hyp(mixup=0.3)), SEED, pictures.load)


def single(samples: TrainSamples, position: int) -> tuple[np.ndarray, np.ndarray]:
    into = np.zeros((SIDE, SIDE, 3), np.uint8)
    return into, samples.render(Key(1, position), into)[0]


def unit_of(samples: TrainSamples, unit: int) -> tuple[np.ndarray, np.ndarray]:
    into = np.zeros((2 * SIDE, 2 * SIDE, 3), np.uint8)
    labels, gains = QuadSamples(samples).render(Key(1, unit), into)
    assert gains == (1, 1, 1)
    return into, labels


def is_enlarged(samples: TrainSamples, unit: int) -> bool:
    image, labels = single(samples, 4 * unit)
    shown, shown_labels = unit_of(samples, unit)
    enlarged = cv2.resize(image, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_LINEAR)
    return np.array_equal(shown, enlarged) and np.array_equal(labels, shown_labels)


def test_about_half_of_the_units_show_their_first_sample_alone_enlarged_with_its_labels(samples: TrainSamples) -> None:
    alone = [is_enlarged(samples, unit) for unit in range(UNITS)]
    assert UNITS / 4 < sum(alone) < UNITS * 3 / 4


def test_the_others_are_tiled_column_by_column_and_labels_go_with_them(samples: TrainSamples) -> None:
    tiled = [unit for unit in range(UNITS) if not is_enlarged(samples, unit)]
    objects = 0
    for unit in tiled:
        image, labels = unit_of(samples, unit)
        expected = []
        for number, (down, right) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
            sample, sample_labels = single(samples, 4 * unit + number)
            place = image[down * SIDE : (down + 1) * SIDE, right * SIDE : (right + 1) * SIDE]
            assert np.array_equal(place, sample)
            moved = sample_labels.astype(np.float64)
            moved[:, 1] = (moved[:, 1] + right) / 2
            moved[:, 2] = (moved[:, 2] + down) / 2
            moved[:, 3:] /= 2
            expected.append(moved)
        np.testing.assert_allclose(labels, np.concatenate(expected), atol=1e-7)
        assert labels.dtype == np.float32
        objects += len(labels)
    assert objects > len(tiled)


def test_units_are_twice_as_large_in_rectangular_batches_too(make_pictures: Callable) -> None:
    pictures: Any = make_pictures(SIDE)
    layout = RectLayout.plan(pictures.sizes_hw, 4, imgsz=SIDE, stride=8)
    samples = TrainSamples(pictures, PlanSource(pictures.sizes_hw, SIDE, Hyp(), layout), SEED, pictures.load)
    batches = list(TrainLoader(QuadSamples(samples), 4, range(1), Workers()).epoch(0))
    shapes = [tuple(batch.images.shape[1:3]) for batch in batches]
    assert shapes == [(2 * height, 2 * width) for height, width in layout.shapes_hw.tolist()]
    assert len(set(shapes)) > 1


def test_a_loader_counts_units_and_covers_every_position(samples: TrainSamples) -> None:
    loader = TrainLoader(QuadSamples(samples), 8, range(2), Workers())
    batches = list(loader.epoch(0))
    assert loader.steps_per_epoch == -(-len(samples.source) // 8) == len(batches)
    assert [batch.positions for batch in batches] == [(2 * step, 2 * step + 1) for step in range(len(batches))]
    assert all(batch.images.shape == (2, 2 * SIDE, 2 * SIDE, 3) and batch.gains is None for batch in batches)
