"""COCO's results file and COCO's mAP, checked against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.errors import DataError
from accel_yolo.metrics import coco
from accel_yolo.metrics.coco import (
    COCO_CATEGORY_IDS,
    CocoMetrics,
    coco_metrics,
    ground_truth_from_json,
    ground_truth_from_labels,
    image_id_of,
    result_table,
    save_results,
)


def test_category_ids_skip_the_ten_that_coco_does_not_use() -> None:
    assert len(COCO_CATEGORY_IDS) == 80
    assert COCO_CATEGORY_IDS[:12] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)
    assert COCO_CATEGORY_IDS[-1] == 90


@pytest.mark.parametrize(
    ("path", "expected"), [("a/000000000139.jpg", 139), ("cat.jpg", "cat"), ("a/12.3.png", "12.3"), ("٣.jpg", "٣")]
)
def test_image_ids_are_numbers_where_the_stem_is_one(path: str, expected: int | str) -> None:
    assert image_id_of(path) == expected


def saved(path: Path, table: np.ndarray, image_ids: list[int | str]) -> list[dict]:
    save_results(path, table, image_ids)
    return json.loads(path.read_text())


def test_rows_hold_left_top_width_height_rounded(tmp_path: Path) -> None:
    detections = np.array([[0, 10.12345, 20.0, 30.0, 50.55555, 0.1234567, 11], [1, 0.0, 0.0, 1e-4, 640.0, 1.0, 0]])
    rows = saved(tmp_path / "rows.json", result_table(detections, COCO_CATEGORY_IDS), [139, 'c"at'])
    first = {"image_id": 139, "category_id": 13, "bbox": [10.123, 20.0, 19.877, 30.556], "score": 0.12346}
    assert rows == [first, {"image_id": 'c"at', "category_id": 1, "bbox": [0.0, 0.0, 0.0, 640.0], "score": 1.0}]
    assert result_table(detections)[:, 6].tolist() == [11, 0]
    assert saved(tmp_path / "none.json", result_table(detections[:0]), []) == []


def test_the_file_holds_the_very_numbers_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 4000, (2000, 2))
    detections = np.column_stack(
        (
            np.arange(2000) // 7,
            corners,
            corners + rng.uniform(0, 900, (2000, 2)),
            rng.random(2000),
            np.arange(2000) % 80,
        )
    ).astype(np.float64)
    monkeypatch.setattr(coco, "ROWS_AT_ONCE", 300)
    table = result_table(detections)
    rows = saved(tmp_path / "rows.json", table, list(range(1000, 1300)))
    again = [[row["image_id"] - 1000, *row["bbox"], row["score"], row["category_id"]] for row in rows]
    np.testing.assert_array_equal(np.array(again), table)


def scene(seed: int, images: int = 30, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes [i, 2], labels [m, 6] (image, class, corners) and detections [n, 7] around them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(200, 640, (images, 2))
    labels, detections = [], []
    for image in range(images):
        for _ in range(rng.integers(0, 12)):
            label = rng.integers(0, classes)
            height, width = sizes[image] * rng.uniform(0.03, 0.7, 2)
            x, y = rng.uniform(0, sizes[image][::-1] - (width, height))
            labels.append([image, label, x, y, x + width, y + height])
            for _ in range(rng.integers(0, 4)):
                dx, dy, dw, dh = rng.normal(0, 0.12, 4)
                box = [x + dx * width, y + dy * height, width * np.exp(dw), height * np.exp(dh)]
                guess = label if rng.random() < 0.85 else rng.integers(0, classes)
                detections.append([image, *box, round(rng.random(), 3), guess])
    return sizes, np.array(labels), np.array(detections)


def by_pycocotools(ground_truth: dict, detections: np.ndarray) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = ground_truth
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def numbers_of(metrics: CocoMetrics) -> list[float]:
    return list(vars(metrics).values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_twelve_numbers_are_those_of_pycocotools(seed: int) -> None:
    sizes, labels, detections = scene(seed)
    truth = ground_truth_from_labels(np.arange(len(sizes)), sizes, labels, {i: f"c{i}" for i in range(5)})
    found = coco_metrics(truth, detections)
    np.testing.assert_allclose(numbers_of(found), by_pycocotools(truth.dataset, detections), atol=1e-9, rtol=0)
    assert 0.1 < found.ap < found.ap50 < 1


def test_annotations_from_a_file_with_crowds_score_as_in_pycocotools(tmp_path: Path) -> None:
    sizes, labels, detections = scene(7)
    truth = ground_truth_from_labels(np.arange(len(sizes)), sizes, labels, {i: f"c{i}" for i in range(5)}).dataset
    for number, annotation in enumerate(truth["annotations"]):
        annotation["iscrowd"] = int(number % 9 == 0)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(truth))
    found = coco_metrics(ground_truth_from_json(path), detections)
    np.testing.assert_allclose(numbers_of(found), by_pycocotools(truth, detections), atol=1e-9, rtol=0)


def test_rounded_rows_score_like_the_detections_they_hold() -> None:
    sizes, labels, detections = scene(3)
    truth = ground_truth_from_labels(np.arange(len(sizes)), sizes, labels, {i: f"c{i}" for i in range(5)})
    corners = detections.copy()
    corners[:, 3:5] += corners[:, 1:3]
    assert coco_metrics(truth, result_table(corners)).ap == pytest.approx(coco_metrics(truth, detections).ap, abs=1e-3)


def test_no_detections_score_zero() -> None:
    sizes, labels, _ = scene(0)
    truth = ground_truth_from_labels(np.arange(len(sizes)), sizes, labels, {i: f"c{i}" for i in range(5)})
    assert coco_metrics(truth, np.zeros((0, 7))).ap == 0


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    sizes, labels, detections = scene(0)
    truth = ground_truth_from_labels(np.arange(len(sizes)), sizes, labels, {i: f"c{i}" for i in range(5)})
    coco_metrics(truth, detections)
    assert capfd.readouterr() == ("", "")


def test_detections_of_unknown_images_are_refused() -> None:
    truth = ground_truth_from_labels(np.array([1]), np.array([[10, 10]]), np.zeros((0, 6)), {0: "a"})
    with pytest.raises(DataError, match="image id: 5"):
        coco_metrics(truth, np.array([[5, 0, 0, 5, 5, 0.5, 0]]))


def test_missing_or_foreign_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        ground_truth_from_json(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken.json"):
        ground_truth_from_json(tmp_path / "broken.json")
