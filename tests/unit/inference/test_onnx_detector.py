"""Exported ONNX models without torch: the same objects as torch finds, and errors in words."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import accel_yolo
from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.inference.interface.model import Model
from accel_yolo.inference.network import TorchNetwork
from accel_yolo.inference.predictor import Predictor
from accel_yolo.inference.runtimes.description import Description, NmsInGraph
from accel_yolo.models.weights import detector_from_weights, load_weights

onnx = pytest.importorskip("onnx")
SIDE, BATCH = 320, 3


class Decoded(nn.Module):
    def __init__(self, network: TorchNetwork) -> None:
        super().__init__()
        self.detector = network.detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector.decode(self.detector(images))


@pytest.fixture(scope="session")
def fixed(published_weights: Path) -> Model:
    """The published detector in torch, with inputs of one size."""
    network = TorchNetwork(detector_from_weights(load_weights(published_weights)))
    network.fixed_hw = (SIDE, SIDE)
    return Model(Predictor(network))


@pytest.fixture(scope="session")
def exported(fixed: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as an ONNX file of fixed batch and size."""
    path = tmp_path_factory.mktemp("onnx") / "fixed.onnx"
    names = {"input_names": ["images"], "output_names": ["output0"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        images = torch.zeros(BATCH, 3, SIDE, SIDE)
        torch.onnx.export(Decoded(fixed._torch_network), (images,), str(path), dynamo=False, **names)
    store(path, entries_of(fixed.names))
    return path


def entries_of(names: dict[int, str], nms: NmsInGraph | None = None) -> dict[str, str]:
    """What an export of ours says about itself."""
    weights = {"names": list(names.values()), "strides": [8, 16, 32], "imgsz": 640}
    return Description(names, (8, 16, 32), nms=nms).entries(json.dumps(weights), "onnx")


def store(path: Path, properties: dict[str, str]) -> None:
    """Replace the properties of an ONNX file."""
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, path)


@pytest.fixture(scope="session")
def photos(reference_dir: Path) -> list[Path]:
    return sorted((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))[:8]


def with_output(path: Path, names: dict[int, str], side: int = 7) -> Path:
    """Write a model that answers with zeros [1, 4, side] whatever it sees."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    answer = onnx.numpy_helper.from_array(np.zeros((1, 4, side), np.float32), "answer")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["answer"], ["output0"])],
        "zeros",
        [helper.make_tensor_value_info("images", kind, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output0", kind, [1, 4, side])],
        [answer],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    if names:
        store(path, entries_of(names))
    return path


@pytest.mark.parametrize("options", [
    {}, {"conf": 0.001, "iou": 0.6, "multi_label": True, "max_det": 300}, {"conf": 0.05, "agnostic": True},
    {"classes": [0, 2], "conf": 0.1}, {"max_det": 2},
], ids=["default", "as validation", "agnostic", "some classes", "few"])  # fmt: skip
def test_the_same_objects_as_torch_finds(fixed: Model, exported: Path, photos: list[Path], options: dict) -> None:
    model = accel_yolo.load(exported)
    assert model.names == fixed.names
    for ours, theirs in zip(model(photos, **options), fixed(photos, **options), strict=True):
        assert len(ours) == len(theirs)
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=0.5)
        np.testing.assert_allclose(ours.confidences, theirs.confidences, atol=1e-3)


def test_where_torch_is_not_installed_an_exported_model_works_and_weights_say_what_they_need(
    exported: Path, photos: list[Path], fixed: Model, published_weights: Path
) -> None:
    program = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['torchvision'] = None\n"
        "import accel_yolo\n"
        "print(accel_yolo.load(sys.argv[1])(sys.argv[2]).summary())\n"
        "try:\n    accel_yolo.load(sys.argv[3])\n"
        "except accel_yolo.UserError as error:\n    print(error)\n"
    )
    words = [sys.executable, "-c", program, str(exported), str(photos[0]), str(published_weights)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    said = result.stdout.splitlines()
    assert said[0] == fixed(photos[0]).summary()
    assert said[1].startswith("these weights need torch: ")


def test_a_foreign_export_tells_its_names_and_stride(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(exported.read_bytes())
    store(path, {"names": "{0: 'person', " + ", ".join(f"{n}: 'c{n}'" for n in range(1, 80)) + "}", "stride": "64"})
    model = accel_yolo.load(path)
    assert (model.names[0], model.names[79], model.stride) == ("person", "c79", 64)
    store(path, {})
    assert accel_yolo.load(path).names[79] == "class79"


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model file"):
        accel_yolo.load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match="damaged ONNX file"):
        accel_yolo.load(tmp_path / "bad.onnx")
    image = np.zeros((40, 40, 3), np.uint8)
    assert accel_yolo.load(with_output(tmp_path / "two.onnx", {0: "a", 1: "b"}))(image).summary() == "no detections"
    with pytest.raises(CheckpointError, match=r"\[B, N, 6\] is needed for 1 classes"):
        accel_yolo.load(with_output(tmp_path / "one.onnx", {0: "a"}))(image)
    with pytest.raises(CheckpointError, match="names no classes"):
        accel_yolo.load(with_output(tmp_path / "none.onnx", {}, side=5))


def test_what_an_exported_model_cannot_do_is_said(exported: Path) -> None:
    model = accel_yolo.load(exported)
    with pytest.raises(ConfigError, match="not a single torch module"):
        model.detector  # noqa: B018
    with pytest.raises(ConfigError, match="not a single torch module"):
        model(torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ConfigError, match="cannot be augmented"):
        accel_yolo.load(exported, augment=True)
    with pytest.raises(ConfigError, match="keeps its precision"):
        accel_yolo.load(exported, precision="fp16")
    with pytest.raises(ConfigError, match="not a device of ONNX Runtime"):
        accel_yolo.load(exported, device="tpu")
