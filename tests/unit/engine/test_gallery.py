"""Which pictures a run leaves, and when they are drawn anew."""

from __future__ import annotations

import numpy as np
import pytest

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.gallery import _Rhythm, shown_batches, shown_images


def config(**changes: int | bool) -> TrainConfig:
    return TrainConfig(cfg="yolov5n.yaml", **changes)  # pyright: ignore


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (16, [16]), (20, [16, 4]), (5000, [16, 16, 16])])
def test_up_to_48_validation_images_are_shown_each_once_from_all_over_the_split(count: int, sizes: list[int]) -> None:
    shown = shown_images(count)
    assert [len(images) for images in shown] == sizes
    images = np.concatenate([*shown, np.zeros(0, int)])
    assert len(set(images.tolist())) == len(images) and (np.diff(images) > 0).all()
    if count:
        assert images[0] == 0 and images[-1] >= count - 1 - count // 48


def test_training_pictures_are_the_first_images_of_the_first_three_global_batches() -> None:
    keys = shown_batches(config(batch=64), 100)
    assert [(keys[0][0].position, len(keys[0])) for keys in (keys,)] == [(0, 16)]
    assert [batch[0].position for batch in keys] == [0, 64, 128]
    assert [len(batch) for batch in shown_batches(config(batch=8), 2)] == [8, 8]
    units = shown_batches(config(batch=16, quad=True), 3)
    assert [[key.position for key in batch] for batch in units] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def due(rhythm: _Rhythm, epochs: int) -> list[int]:
    return [epoch for epoch in range(1, epochs + 1) if rhythm.is_due(epoch)]


def test_pictures_are_drawn_anew_as_often_as_was_asked_for() -> None:
    assert due(_Rhythm.of(config(epochs=7, bbox_interval=2)), 7) == [2, 4, 6]
    assert due(_Rhythm.of(config(epochs=7, bbox_interval=0)), 7) == []
    assert due(_Rhythm.of(config(epochs=100)), 100) == [10, 20, 30, 40, 50, 60, 70, 80, 90]  # the end draws the last
    assert due(_Rhythm.of(config(epochs=3)), 3) == [1, 2]


def test_unasked_drawing_takes_a_small_share_of_the_time_and_asked_drawing_what_it_takes() -> None:
    short, long = _Rhythm.of(config(epochs=10)), _Rhythm.of(config(epochs=10))
    assert not short.allows(4.0)  # the run has just begun
    long.started -= 3600
    assert [long.allows(spent_s) for spent_s in (4.0, 6.0, 8.0)] == [True, True, True]
    long.started += 3590
    assert not long.allows(10.0)
    asked = _Rhythm.of(config(epochs=10, bbox_interval=1))
    assert all(asked.allows(spent_s) for spent_s in (4.0, 60.0, 600.0))
