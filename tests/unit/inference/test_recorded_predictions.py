"""With the published weights, the same boxes as the reference on twelve real images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import accel_yolo
from accel_yolo.boxes import iou_matrix
from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.inference.interface.model import Model
from accel_yolo.inference.predict import predict


@pytest.fixture(scope="module")
def model(published_weights: Path) -> Model:
    return accel_yolo.load(published_weights, device="cpu")


def check(found: np.ndarray, expected: list[list[float]], least_iou: float) -> None:
    """Boxes [n, 6] are the expected ones, in any order among equals."""
    rows = torch.tensor(expected).reshape(-1, 6)
    assert len(found) == len(rows)
    if not len(rows):
        return
    table = torch.from_numpy(found)
    same_class = table[:, 5:6] == rows[:, 5]
    iou = iou_matrix(table[:, :4], rows[:, :4]) * same_class
    best, partner = iou.max(dim=1)
    assert sorted(partner.tolist()) == list(range(len(rows)))
    assert float(best.min()) > least_iou
    torch.testing.assert_close(table[:, 4], rows[partner, 4], atol=0.01, rtol=0)


def test_the_recorded_boxes_are_found(model: Model, recorded: Callable[[str], Path], reference_dir: Path) -> None:
    record = json.loads(recorded("predictions_yolov5n_coco128.json").read_text())
    assert list(model.names.values()) == record["names"]
    assert len(record["images"]) == 12
    for case in record["images"]:
        found = model(reference_dir / "data" / "coco128" / "images" / case["image"])
        assert not isinstance(found, list)
        assert list(found.input_hw) == case["network_input_hw"]
        check(found.xyxy, case["detections_xyxy_conf_cls"], least_iou=0.98)


def test_the_command_writes_the_recorded_boxes(
    published_weights: Path, recorded: Callable[[str], Path], reference_dir: Path, tmp_path: Path
) -> None:
    record = json.loads(recorded("predictions_yolov5n_coco128.json").read_text())
    images = reference_dir / "data" / "coco128" / "images"
    listed = tmp_path / "images.txt"
    listed.write_text("".join(f"{images / case['image']}\n" for case in record["images"]))
    folder = predict(
        PredictConfig(
            weights=(str(published_weights),), source=str(listed), device="cpu", project=str(tmp_path), save_txt=True,
            save_conf=True, save_format=1,
        )
    )  # fmt: skip
    assert len(list(folder.glob("*.jpg"))) == 12
    for case in record["images"]:
        rows = np.loadtxt(folder / "labels" / f"{Path(case['image']).stem}.txt", dtype=np.float32, ndmin=2)
        assert bool((np.diff(rows[:, 5]) >= 0).all())
        drawn = model_hw(folder / case["image"])
        corners = rows[:, 1:5] * np.array([drawn[1], drawn[0]] * 2, np.float32)
        # Corners are rounded to whole pixels, which costs small boxes some overlap.
        check(np.column_stack((corners, rows[:, 5], rows[:, 0])), case["detections_xyxy_conf_cls"], least_iou=0.8)


def model_hw(path: Path) -> tuple[int, int]:
    from accel_yolo.data.images import read_image

    height, width, _ = read_image(str(path)).shape
    return height, width
