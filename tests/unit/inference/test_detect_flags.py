"""What the flags of YOLOv5's detect.py change in what is drawn, counted and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.config.predict_schema import PredictConfig
from accel_yolo.data.images import read_image
from accel_yolo.inference import predict as command
from accel_yolo.inference.network import Candidates, Network
from accel_yolo.inference.output.drawing import DrawOptions
from accel_yolo.inference.predict import predict
from accel_yolo.inference.predictor import PredictOptions, Predictor


class ThreePeopleAndADog(Network):
    """Finds the same in every image: two people that overlap by half, one apart, a dog where the first of them is."""

    names = {0: "person", 1: "dog"}
    strides = (8, 16, 32)
    device = torch.device("cpu")
    imgsz = 160

    def __call__(self, images: Tensor) -> Tensor:
        return images

    def candidates(self, output: Tensor, conf_thres: float) -> Candidates:
        rows = torch.tensor(
            [
                [40.3, 50, 40, 60, 0.9, 1.0, 0.0],
                [50.3, 50, 40, 60, 0.8, 1.0, 0.0],
                [120.0, 50, 30, 60, 0.7, 1.0, 0.0],
                [41.0, 51, 40, 60, 0.6, 0.0, 1.0],
            ]
        )
        return rows.repeat(len(output), 1), torch.arange(len(output)).repeat_interleave(len(rows))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, png: Callable[..., bytes]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_network", lambda *_: ThreePeopleAndADog())
    Path("x.png").write_bytes(png(np.full((128, 160, 3), 90, np.uint8)))


def run(**flags: Any) -> Path:
    return predict(PredictConfig(weights=("w.pt",), source="x.png", device="cpu", imgsz=(160,), **flags))


@pytest.mark.parametrize(
    ("flags", "summary"),
    [
        ({}, "2 persons, 1 dog"),
        ({"iou_thres": 0.7}, "3 persons, 1 dog"),
        ({"agnostic_nms": True}, "2 persons"),
        ({"conf_thres": 0.65}, "2 persons"),
        ({"conf_thres": 0.75}, "1 person"),
        ({"max_det": 1}, "1 person"),
        ({"classes": ("dog",)}, "1 dog"),
        ({"classes": ("1", "person")}, "2 persons, 1 dog"),
        ({"conf_thres": 0.95}, "no detections"),
    ],
)
def test_flags_choose_what_is_kept_and_all_outputs_hold_the_same(
    flags: dict[str, Any], summary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(save_txt=True, save_crop=True, save_csv=True, **flags)
    assert f"image 1/1 x.png: 128x160 {summary}, " in capsys.readouterr().out
    count = sum(int(word) for word in summary.split() if word.isdecimal())
    labels = folder / "labels" / "x.txt"
    assert (len(labels.read_text().splitlines()) if labels.exists() else 0) == count
    assert len([*(folder / "crops").rglob("*.jpg")]) == count
    assert len((folder / "predictions.csv").read_text().splitlines()) == count + 1
    assert (folder / "x.png").exists()


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ({}, DrawOptions()),
        ({"hide_labels": True}, DrawOptions(labels=False)),
        ({"hide_conf": True}, DrawOptions(confidences=False)),
        ({"line_thickness": 1, "hide_conf": True}, DrawOptions(1, confidences=False)),
    ],
)
def test_flags_choose_how_it_is_drawn(flags: dict[str, Any], options: DrawOptions) -> None:
    drawn = read_image(str(run(**flags) / "x.png"))
    found = Predictor(ThreePeopleAndADog())(read_image("x.png"), PredictOptions((160, 160)))
    np.testing.assert_array_equal(drawn, found.rounded().plot(options))
    others = [DrawOptions(), DrawOptions(labels=False), DrawOptions(confidences=False), DrawOptions(1)]
    assert sum(np.array_equal(drawn, found.rounded().plot(other)) for other in others) <= 1


def test_crops_of_one_class_are_numbered_from_two_and_have_their_margin() -> None:
    folder = run(save_crop=True, nosave=True)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.jpg")) == [
        "crops/dog/x.jpg", "crops/person/x.jpg", "crops/person/x2.jpg",
    ]  # fmt: skip
    # 40 x 60 px, enlarged by 2 % and 10 px: 50.8 x 71.2.
    assert read_image(str(folder / "crops/person/x.jpg")).shape[:2] == (71, 51)


def test_label_files_hold_whole_pixels() -> None:
    rows = [line.split() for line in (run(save_txt=True, save_format=1) / "labels" / "x.txt").read_text().splitlines()]
    corners = np.array([[float(value) for value in row[1:]] for row in rows]) * (160, 128, 160, 128)
    np.testing.assert_allclose(corners, corners.round(), atol=1e-3)
    assert [row[0] for row in rows] == ["1", "0", "0"]
