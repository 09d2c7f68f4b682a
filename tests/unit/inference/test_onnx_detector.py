"""Exported ONNX models without torch: the same objects as torch finds, and errors in words."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import accel_yolo
from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.inference.interface.model import Model
from accel_yolo.inference.network import TorchNetwork
from accel_yolo.inference.networks import load_network
from accel_yolo.inference.onnx_detector import OnnxDetector
from accel_yolo.inference.predictor import PredictOptions, Predictor
from accel_yolo.inference.runtimes.description import Description, NmsInGraph
from accel_yolo.inference.runtimes.opening import open_exported
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.weights import detector_from_weights, load_weights

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
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


def with_output(
    path: Path, names: dict[int, str], side: int = 7, answer: Sequence[float] = (), half: bool = False
) -> Path:
    """Write a model that answers with [1, 4, side] whatever it sees: zeros, or four times the same row."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = onnx.TensorProto.FLOAT16 if half else kind
    rows = np.broadcast_to(np.array(answer or [0] * side, np.float32), (1, 4, side)).copy()
    stored = onnx.numpy_helper.from_array(rows, "answer")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["answer"], ["output0"])],
        "zeros",
        [helper.make_tensor_value_info("images", given, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("output0", kind, [1, 4, side])],
        [stored],
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
    with pytest.raises(CheckpointError, match="not a detector of this family in .*: output 1x4x7 with 1 class names"):
        accel_yolo.load(with_output(tmp_path / "one.onnx", {0: "a"}))
    with pytest.raises(CheckpointError, match="not a detector of this family in .*: output 1x4x5 with 0 class names"):
        accel_yolo.load(with_output(tmp_path / "none.onnx", {}, side=5))


@pytest.fixture(params=["without torch", "with torch"])
def opened(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """A function that opens an ONNX file as `accel_yolo.load` does, and one as the commands do."""

    def as_commands_do(path: Path, device: str = "cpu", precision: str = "auto") -> Predictor:
        return Predictor(open_exported(path, "onnx", torch.device(device), precision))

    return OnnxDetector if request.param == "without torch" else as_commands_do


def test_both_ways_refuse_and_warn_alike(
    opened: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_output(tmp_path / "two.onnx", {0: "a", 1: "b"})
    with pytest.raises(ConfigError, match="an exported model has its own precision, fp32 in .*: fp16"):
        opened(path, "cpu", "fp16")
    half = with_output(tmp_path / "half.onnx", {0: "a", 1: "b"}, half=True)
    assert opened(half, "cpu", "fp16").names == {0: "a", 1: "b"}
    with pytest.raises(ConfigError, match="has its own precision, fp16 in .*: fp32"):
        opened(half, "cpu", "fp32")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        opened(path, "cuda:0")
        assert "warning: onnxruntime has no CUDA here, two.onnx runs on the CPU" in capsys.readouterr().err


def test_both_ways_say_once_what_suppression_in_the_graph_dropped(
    opened: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_output(tmp_path / "nms.onnx", {0: "a", 1: "b"}, side=6)
    store(path, entries_of({0: "a", 1: "b"}, NmsInGraph(0.3)))
    detector, image = opened(path), np.zeros((40, 40, 3), np.uint8)
    detector(image, PredictOptions((64, 64), NmsOptions(0.3, max_det=100)))
    assert not capsys.readouterr().err
    for _ in range(2):
        detector(image, PredictOptions((64, 64), NmsOptions(0.1, max_det=100)))
    assert capsys.readouterr().err.count("keeps confidence above 0.3: what it dropped is not seen") == 1


@pytest.mark.parametrize("kind", [2.0, -1.0])
def test_both_ways_refuse_a_class_that_is_not_named(kind: float, opened: Callable[..., Any], tmp_path: Path) -> None:
    path = with_output(tmp_path / "nms.onnx", {0: "a", 1: "b"}, side=6, answer=[0, 0, 9, 9, 0.9, kind])
    store(path, entries_of({0: "a", 1: "b"}, NmsInGraph()))
    with pytest.raises(CheckpointError, match="a class that the file does not name"):
        opened(path)(np.zeros((40, 40, 3), np.uint8), PredictOptions((64, 64)))


def test_members_of_an_ensemble_say_what_they_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [with_output(tmp_path / f"{name}.onnx", {0: "a", 1: "b"}, side=6) for name in ("one", "other")]
    for path in paths:
        store(path, entries_of({0: "a", 1: "b"}, NmsInGraph()))
    several = load_network([str(path) for path in paths], torch.device("cpu"))
    Predictor(several)(np.zeros((40, 40, 3), np.uint8), PredictOptions((64, 64), NmsOptions(0.1, max_det=100)))
    said = capsys.readouterr().err
    assert all(f"NMS in the graph of {path} keeps confidence above 0.25" in said for path in paths)


def test_what_an_exported_model_cannot_do_is_said(exported: Path) -> None:
    model = accel_yolo.load(exported)
    with pytest.raises(ConfigError, match="not a single torch module"):
        model.detector  # noqa: B018
    with pytest.raises(ConfigError, match="not a single torch module"):
        model(torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ConfigError, match="cannot be augmented"):
        accel_yolo.load(exported, augment=True)
    with pytest.raises(ConfigError, match="has its own precision, fp32"):
        accel_yolo.load(exported, precision="fp16")
    with pytest.raises(ConfigError, match="there is nothing to fuse"):
        accel_yolo.load(exported, fusion="wbf")
    with pytest.raises(ConfigError, match="not a device of ONNX Runtime"):
        accel_yolo.load(exported, device="tpu")
