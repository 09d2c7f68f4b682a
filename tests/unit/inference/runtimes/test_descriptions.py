"""What exported files say about themselves, and what is said of files that are no detectors."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.data.eval_loader import eval_shapes
from accel_yolo.errors import CheckpointError, ConfigError, EnvironmentFault
from accel_yolo.export.request import ExportRequest
from accel_yolo.export.torchscript import write_torchscript
from accel_yolo.inference.networks import NetworkOptions, load_network
from accel_yolo.inference.runtimes.answers import as_predictions, batches_of
from accel_yolo.inference.runtimes.description import Description, NmsInGraph, described, fitted
from accel_yolo.inference.runtimes.kinds import exported_kind
from accel_yolo.inference.runtimes.torchscript import torchscript_entries
from accel_yolo.models.weights_meta import WeightsMeta
from accel_yolo.models.zoo import build_detector, model_spec

CPU = torch.device("cpu")
NAMES = {0: "it's", 1: "été"}


def test_a_description_comes_back_as_it_was_written() -> None:
    detector = build_detector(model_spec("yolov5n"), NAMES, seed=0)
    meta = WeightsMeta.of(detector, 320, "made")
    written = Description(NAMES, (8, 16, 32), (320, 320), 2, 320, True, NmsInGraph(0.1, agnostic=True))
    entries = written.entries(meta.to_json(), "onnx")
    assert described(entries, "x") == written
    assert WeightsMeta.from_json(entries["accel_yolo"], "x") == meta, "licence and provenance are there"


def test_a_file_of_yolov5_names_classes_in_a_python_dict_and_nothing_of_it_is_executed() -> None:
    assert described({"stride": "32", "names": "{0: 'a', 1: 'b'}"}, "x") == Description({0: "a", 1: "b"}, (32,))
    assert described({"stride": "32", "names": "['a', 'b']"}, "x").names == {0: "a", 1: "b"}
    in_torchscript = torchscript_entries({"shape": [1, 3, 64, 64], "stride": 32, "names": {"0": "a", "1": "b"}})
    assert described(in_torchscript, "x").names == {0: "a", 1: "b"}
    for names in ("__import__('os').getcwd()", "{0: 'a', 7: 'b'}", "3", "{"):
        with pytest.raises(CheckpointError, match="unreadable metadata in x"):
            described({"names": names}, "x")


@pytest.mark.parametrize("entries", [
    {"accel_yolo": "{"}, {"accel_yolo": "[]"}, {"accel_yolo": '{"names": [1]}'}, {"names": "__import__('os')"},
    {"names": "{0: 1}"}, {"names": "(" * 10_000}, {"names": "{1e999: 'a'}"}, {"names": "{'inf': 'a'}"},
    {"names": "[" + "'a'," * 2_000_000 + "]"}, {"stride": "0"}, {"stride": "thirty"}, {"stride": "inf"},
    {"stride": "nan"}, {"stride": "-8"}, {"stride": "1e300"},
], ids=lambda entries: str(entries)[:40])  # fmt: skip
def test_entries_that_make_no_sense_are_refused(entries: dict[str, str]) -> None:
    with pytest.raises(CheckpointError, match="unreadable metadata in x.onnx"):
        described(entries, "x.onnx")


NMS = dataclasses.asdict(NmsInGraph())


@pytest.mark.parametrize(("place", "value"), [
    ("strides", "[]"), ("strides", "[0]"), ("strides", "[true]"), ("strides", "[1e999]"), ("imgsz", "1e999"),
    ("imgsz", "true"), ("export", "[]"), ("hw", "[64]"), ("hw", "[64, 64, 64]"), ("hw", "[64, 0]"), ("hw", '"64"'),
    ("hw", "64"), ("batch", "0"), ("batch", "-1"), ("batch", "1e999"), ("batch", "NaN"), ("batch", '"2"'),
    ("half", '"no"'), ("half", "null"), ("nms", "true"), ("nms", "{}"),
    ("nms", json.dumps({**NMS, "conf_thres": "abc"})), ("nms", json.dumps({**NMS, "iou_thres": 2})),
    ("nms", json.dumps({**NMS, "conf_thres": float("nan")})), ("nms", json.dumps({**NMS, "max_det": 0})),
    ("nms", json.dumps({**NMS, "per_class": 1.5})), ("nms", json.dumps({**NMS, "agnostic": 1})),
    ("nms", json.dumps({**NMS, "more": 1})),
])  # fmt: skip
def test_values_of_the_wrong_kind_are_refused(place: str, value: str) -> None:
    export = {"hw": "null", "batch": "null", "half": "false", "nms": "null"}
    ours = {"names": '["a"]', "strides": "[8]", "imgsz": "64", "export": in_json(export)}
    assert described({"accel_yolo": in_json(ours)}, "x") == Description({0: "a"}, (8,), imgsz=64)
    changed = {"export": in_json({**export, place: value})} if place in export else {place: value}
    with pytest.raises(CheckpointError, match="unreadable metadata in x"):
        described({"accel_yolo": in_json({**ours, **changed})}, "x")


def in_json(fields: dict[str, str]) -> str:
    """An object of values that are JSON already."""
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}"


@pytest.mark.parametrize("kind", [-1.0, 2.0, 1e9, float("nan"), float("inf")])
def test_a_class_that_the_file_does_not_name_is_one_line(kind: float) -> None:
    rows = np.array([[0, 0, 10, 10, 0.9, 1], [0, 0, 10, 10, 0.9, kind]], np.float32)
    assert as_predictions(rows[:1], 2, "x").tolist() == [[5, 5, 10, 10, np.float32(0.9), 0, 1]]
    with pytest.raises(CheckpointError, match="a class that the file does not name in x: class .* of 2"):
        as_predictions(rows, 2, "x")


def test_images_are_cut_into_batches_and_the_last_image_fills_up_the_last_one() -> None:
    images = np.arange(5)
    assert [images[places].tolist() for places, _ in batches_of(5, 2)] == [[0, 1], [2, 3], [4, 4]]
    assert [wanted for _, wanted in batches_of(5, 2)] == [2, 2, 1]
    assert [images[places].tolist() for places, _ in batches_of(5, 5)] == [[0, 1, 2, 3, 4]]
    assert [images[places].tolist() for places, _ in batches_of(5, None)] == [[0, 1, 2, 3, 4]]
    assert [images[places].tolist() for places, _ in batches_of(5, 8)] == [[0, 1, 2, 3, 4, 4, 4, 4]]


def test_a_graph_with_suppression_answers_with_six_columns_and_names_its_classes() -> None:
    with_nms = Description({0: "a"}, (32,), nms=NmsInGraph())
    assert fitted(with_nms, [1, 3, 64, 64], [1, 100, 6], "x").nms == NmsInGraph()
    for description, columns in ((with_nms, 7), (dataclasses.replace(with_nms, names={}), 6)):
        with pytest.raises(CheckpointError, match="not a detector of this family in x: NMS in the graph"):
            fitted(description, [1, 3, 64, 64], [1, 100, columns], "x")


def test_a_file_without_names_has_numbered_ones() -> None:
    described_ = fitted(described({}, "x"), [1, 3, 64, 64], [1, 252, 7], "x")
    assert described_.names == {0: "class0", 1: "class1"}
    assert (described_.hw, described_.batch) == ((64, 64), 1)


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ([1, 3, 64, 64], [1, 7, 252]),
        ([1, 3, 64, 64], [1, 1000]),
        ([1, 1, 64, 64], [1, 252, 7]),
        ([1, 4], [1, 252, 7]),
        ([1, 3, 64, 64], [1, 252, 9]),
    ],
    ids=["transposed", "classifier", "grey", "table", "more classes"],
)
def test_other_networks_are_refused(given: list[int], answered: list[int]) -> None:
    with pytest.raises(CheckpointError, match="not a detector of this family in x: "):
        fitted(Description({0: "a", 1: "b"}, (32,)), given, answered, "x")


@pytest.mark.parametrize("name", ["m.engine", "m.tflite", "m_saved_model/", "m.mlpackage/", "m_ncnn_model/"])
def test_a_model_of_a_runtime_that_is_not_supported_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_bytes(b"something")
    with pytest.raises(CheckpointError, match="cannot be run here in .*; give the .onnx export"):
        exported_kind(path)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x08\x12"])
@pytest.mark.parametrize("dnn", [False, True])
def test_a_damaged_onnx_file_is_one_line(content: bytes, dnn: bool, tmp_path: Path) -> None:
    path = tmp_path / "torn.onnx"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"torn\.onnx"):
        load_network([str(path)], CPU, NetworkOptions(dnn=dnn))


def test_a_damaged_openvino_folder_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "m_openvino_model"
    folder.mkdir()
    (folder / "m.xml").write_text("<net>")
    with pytest.raises(CheckpointError, match="weights are missing in "):
        load_network([str(folder)], CPU)
    (folder / "m.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot read OpenVINO model in "):
        load_network([str(folder)], CPU)


@pytest.mark.parametrize(("kind", "module"), [("m.onnx", "onnxruntime"), ("m_openvino_model", "openvino")])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / kind
    if path.suffix:
        path.write_bytes(b"\x08\x08")
    else:
        path.mkdir()
        (path / "m.xml").write_text("<net>")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EnvironmentFault, match=rf"a package that is missing: {module}; pip install 'accel-yolo\[export\]'"
    ):
        load_network([str(path)], CPU)


@pytest.mark.parametrize("options", [NetworkOptions(dnn=True), NetworkOptions(augment=True), NetworkOptions("bf16")])
def test_options_that_an_exported_model_does_not_have_are_refused(options: NetworkOptions, tmp_path: Path) -> None:
    detector = build_detector(model_spec("yolov5n"), NAMES, seed=0)
    path = tmp_path / "m.torchscript"
    write_torchscript(ExportRequest(detector, WeightsMeta.of(detector, 64, "made"), hw=(64, 64)), path)
    with pytest.raises(ConfigError):
        load_network([str(path)], CPU, options)


def test_a_network_of_one_size_is_evaluated_at_that_size() -> None:
    shapes = eval_shapes(np.array([[100, 200], [300, 50]]), 320, 32, (256, 320))
    assert shapes.tolist() == [[256, 320], [256, 320]]
