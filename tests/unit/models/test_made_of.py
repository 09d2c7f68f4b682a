"""What is made of weights goes beside them; never into a cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel_yolo.models import weights as weights_module
from accel_yolo.models.convert import convert
from accel_yolo.models.made_of import beside_weights
from accel_yolo.models.weights import find_weights, save_weights
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Weights as the cache of the hub's library has them."""
    detector = build_detector(model_spec("yolov5n"), {0: "cat"})
    path = tmp_path / "hf" / "models--me--pets.v1" / "snapshots" / "0123" / "model.safetensors"
    save_weights(path, detector, WeightsMeta.of(detector, 96, "made"))
    return path


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("named", "found", "target"), [
    ("runs/best.pt", "runs/best.pt", "runs/best.onnx"),
    ("runs/best.pt", "runs/best.safetensors", "runs/best.onnx"),
    ("best.pt", "best.pt", "best.onnx"),
    ("./best.v2.pt", "best.v2.pt", "best.v2.onnx"),
    ("shared", "shared/model.safetensors", "shared/model.onnx"),
    ("shared/", "shared/model.safetensors", "shared/model.onnx"),
    (".", "model.safetensors", "model.onnx"),
    ("yolov5n.pt", "/cache/weights/yolov5n.pt", "yolov5n.onnx"),
    ("yolov5n", "/cache/weights/yolov5n.pt", "yolov5n.onnx"),
    ("me/pets", "/hf/snapshots/0123/model.safetensors", "pets.onnx"),
    ("me/pets.v1", "/hf/snapshots/0123/weights/best.pt", "pets.v1.onnx"),
    ("/hf/snapshots/0123/best.pt", "/hf/snapshots/0123/best.pt", "/hf/snapshots/0123/best.onnx"),
])  # fmt: skip
def test_beside_what_lies_where_it_was_named_else_in_the_working_folder(named: str, found: str, target: str) -> None:
    assert beside_weights(named, Path(found), ".onnx") == Path(target)


def test_weights_of_the_hub_are_converted_into_the_working_folder(
    saved: Path, working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module.hub, "fetched_weights", lambda text: saved)
    assert find_weights("me/pets.v1") == saved
    assert convert("me/pets.v1", to="yolov5-pt") == Path("pets.v1.pt")
    assert names_in(working_folder) == ["pets.v1.pt"]
    assert names_in(saved.parent) == ["model.safetensors"]


def test_a_model_folder_is_converted_inside(saved: Path, working_folder: Path) -> None:
    assert convert(saved.parent, to="yolov5-pt") == saved.with_name("model.pt")
    assert not names_in(working_folder)
