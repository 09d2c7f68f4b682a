"""Which pictures a run leaves, and when they are drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.index import build_index
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.engine.gallery import Gallery, _renumbered, _Rhythm, shown_batches, shown_images
from accel_yolo.engine.subject import Subject
from accel_yolo.engine.world import World
from accel_yolo.inference.output.batch_sheet import LEAST_CONFIDENCE
from accel_yolo.inference.output.run_pictures import VAL_LABELS, VAL_PREDICTIONS


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


def test_only_confident_detections_of_the_shown_images_are_searched_for_and_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sure, unsure = LEAST_CONFIDENCE + 0.1, LEAST_CONFIDENCE - 0.1
    rows = [(image, 1, 2, 3, 4, confidence, 5) for image in range(6) for confidence in (sure, unsure, unsure)]
    searched: list[int] = []
    original = np.isin

    def isin(values: np.ndarray, among: np.ndarray) -> np.ndarray:
        searched.append(len(values))
        return original(values, among)

    monkeypatch.setattr(np, "isin", isin)
    drawn = _renumbered(np.array(rows, float), np.array([1, 4]))
    assert drawn.tolist() == [[0, 1, 2, 3, 4, sure, 5], [1, 1, 2, 3, 4, sure, 5]]
    assert searched == [6], "most detections are unsure: a split has millions of them"


def test_nothing_is_drawn_beside_the_evaluation_that_a_validation_times(sparse_data: Path, tmp_path: Path) -> None:
    index = build_index(load_data_spec(sparse_data), "val", single_cls=False, bad_data="fail", workers=1)
    nothing: Any = None
    subject = Subject(nothing, nothing, nothing, {0: "a", 1: "b", 2: "c"}, index)
    (tmp_path / VAL_LABELS[0]).write_text("of an earlier validation")
    gallery = Gallery.of_validation(tmp_path, ValConfig(weights=("a.pt",)), subject, World.start("cpu"))
    assert gallery._draughtsman is not None and not gallery._draughtsman._asked
    assert not (tmp_path / VAL_LABELS[0]).exists()
    zeros = Evaluation(nothing, len(index), (0.0, 0.0, 0.0), np.zeros((0, 7)), {}, 0.0, 0.0)
    gallery.conclude(zeros)
    gallery.close()
    assert {path.name for path in tmp_path.iterdir()} == {VAL_LABELS[0], VAL_PREDICTIONS[0]}
