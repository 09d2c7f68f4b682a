"""The Python interface: `accel_yolo.load(weights)(images)`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import accel_yolo
from accel_yolo.errors import ConfigError, DataError
from accel_yolo.inference.model import Model
from accel_yolo.inference.network import Network
from accel_yolo.inference.predictor import Predictor
from accel_yolo.inference.results import Detections


@pytest.fixture
def model(bright_spot: Network) -> Model:
    return Model(Predictor(bright_spot))


@pytest.fixture
def photos(tmp_path: Path, spot_image: Callable[..., np.ndarray], png: Callable[..., bytes]) -> Path:
    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(png(spot_image()))
    return tmp_path


def test_importing_the_package_does_not_import_torch() -> None:
    script = (
        "import sys, accel_yolo; accel_yolo.__version__; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert callable(accel_yolo.load)


def test_every_form_of_one_image_gives_the_same_detections(
    model: Model, photos: Path, spot_image: Callable[..., np.ndarray]
) -> None:
    path = photos / "a" / "x.png"
    forms = [str(path), path, Image.open(path), spot_image(), Image.open(path).convert("RGBA")]
    results = [model(form) for form in forms]
    for found in results:
        assert isinstance(found, Detections)
        np.testing.assert_array_equal(found.xyxy, results[0].xyxy)
    assert results[0].path == str(path)
    assert results[3].path == ""


def test_several_images_give_a_list(model: Model, photos: Path, spot_image: Callable[..., np.ndarray]) -> None:
    path = photos / "a" / "x.png"
    assert [len(found) for found in model([str(path), spot_image(), Image.open(path)])] == [2, 2, 2]
    assert [len(found) for found in model((spot_image(),))] == [2]
    assert model([]) == []
    assert len(model(f"{photos}/*/x.png")) == 2
    assert len(model(photos / "a")) == 1
    assert isinstance(model(photos / "a"), list)


def test_saved_files_of_one_call_do_not_meet(model: Model, photos: Path, spot_image: Callable[..., np.ndarray]) -> None:
    results = model([*sorted(photos.glob("*/x.png")), spot_image(), spot_image()])
    assert [found.save(photos / "out").name for found in results] == ["x.png", "x-2.png", "image2.jpg", "image3.jpg"]


def test_arguments_are_those_of_the_command_line(model: Model, spot_image: Callable[..., np.ndarray]) -> None:
    assert model(spot_image(), conf=0.5).summary() == "1 dog"
    assert model(spot_image(), classes=[0]).summary() == "1 person"
    assert model(spot_image(), max_det=1).summary() == "1 dog"
    assert model(spot_image(), imgsz=(64, 128)).input_hw == (64, 128)
    assert model.names == {0: "person", 1: "dog"}
    with pytest.raises(ConfigError, match="conf_thres"):
        model(spot_image(), conf=25)


@pytest.mark.parametrize("wrong", [
    np.zeros((64, 64, 3)), np.zeros((0, 5, 3), np.uint8), np.zeros((64, 64, 7), np.uint8), [3], torch.zeros(3, 64, 64),
    np.zeros((2, 64, 64, 3), np.uint8), {"image": 1},
], ids=["float", "empty", "seven channels", "number", "float tensor", "batch", "mapping"])  # fmt: skip
def test_what_is_not_an_image_is_refused_with_the_remedy(model: Model, wrong: object) -> None:
    with pytest.raises(DataError, match="RGB order"):
        model(wrong)  # type: ignore[arg-type]


def test_missing_images_are_named(model: Model) -> None:
    for missing in ("nowhere.jpg", ["nowhere.jpg"]):
        with pytest.raises(DataError, match="nowhere.jpg"):
            model(missing)
