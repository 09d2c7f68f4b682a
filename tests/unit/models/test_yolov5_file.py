"""A `.pt` that we write is one of YOLOv5's: the same objects with the same attributes, and no number is rounded."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from yolov5_stand_ins import stand_in_modules

from accel_yolo.errors import CheckpointError, ConfigError
from accel_yolo.files import sha256_file
from accel_yolo.models.convert import convert
from accel_yolo.models.detector import Detector
from accel_yolo.models.inert_pickle import Stub, TensorRecord
from accel_yolo.models.licence import AGPL, IMPORTED, KEY
from accel_yolo.models.own_note import digest, own_note
from accel_yolo.models.torch_archive import ALIGNMENT, TorchArchive, open_torch_archive
from accel_yolo.models.weights import Weights, WeightsMeta, detector_from_weights, load_weights, save_weights
from accel_yolo.models.yolov5_file import save_yolov5, survives_half
from accel_yolo.models.zoo import build_detector, model_spec

EVERY_LAYER: dict[str, Any] = {
    "anchors": [[10, 13, 16, 30], [30, 61, 62, 45]],
    "backbone": [
        [-1, 1, "Focus", [8, 3]],
        [-1, 1, "DWConv", [16, 3, 2]],
        [-1, 1, "CrossConv", [16, 3, 1, 1, 1.0, True]],
        [-1, 2, "C3x", [16]],
        [-1, 1, "SPP", [16, [5, 9, 13]]],
        [-1, 1, "GhostConv", [24, 3, 2]],
        [-1, 1, "GhostBottleneck", [32, 3, 2]],
        [-2, 1, "GhostBottleneck", [24, 3, 1]],
        [6, 1, "GhostBottleneck", [32, 3, 1]],
        [-1, 2, "C3Ghost", [32]],
        [-1, 2, "C3TR", [32]],
        [-1, 2, "Bottleneck", [32]],
        [[-1], 1, "SPPF", [32, 5]],
    ],
    "head": [
        [-1, 1, "nn.ConvTranspose2d", [16, 2, 2]],
        [-1, 1, "Contract", [2]],
        [-1, 1, "Expand", [2]],
        [-1, 1, "nn.Identity", []],
        [-1, 1, "nn.MaxPool2d", [2, 2]],
        [-1, 1, "nn.ZeroPad2d", [[0, 0, 0, 0]]],
        [-1, 2, "Conv", [16, 3, 1]],
        [[-1, 8], 1, "Concat", [1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 7], 1, "Concat", []],
        [-1, 1, "C3", [16, False]],
        [-1, 1, "Conv", [16, 3, 2]],
        [[-2, 24], 1, "Detect", ["nc", "anchors"]],
    ],
}


@pytest.fixture
def yolov5_classes() -> Iterator[None]:
    """YOLOv5's class paths can be imported while a test runs; behind them are this project's stand-ins."""
    homes = stand_in_modules()
    sys.modules.update(homes)
    yield
    for name in homes:
        sys.modules.pop(name, None)


def lively(detector: Detector) -> Detector:
    """Give normalisations statistics and weights of their own, so that none of them is a mere scale."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, value in detector.state_dict().items():
            if ".bn." in key and value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return detector


def written(path: Path, detector: Detector, **meta: Any) -> Path:
    described = WeightsMeta.of(detector, meta.pop("imgsz", 64), "trained on demo")
    save_yolov5(path, detector, WeightsMeta(**{**vars(described), **meta}))
    return path


def tensors_of(archive: TorchArchive) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers of the model of a file, as stored, by state-dict key."""
    found = {}

    def walk(module: Stub, prefix: str) -> None:
        for part in ("_parameters", "_buffers"):
            for name, record in module.part(part).items():
                if isinstance(record, TensorRecord):
                    found[prefix + name] = archive.tensor(record)
        for name, child in module.part("_modules").items():
            walk(child, f"{prefix}{name}.")

    walk(archive.content["model"], "")
    return found


def layout_of(module: Stub, place: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield place, class path and attributes of a module and of those in it."""
    yield place, module.foreign, module.attributes
    for name, child in module.part("_modules").items():
        yield from layout_of(child, f"{place}.{name}")


# The published file


def test_pt_to_safetensors_to_pt_keeps_every_tensor_bit_for_bit_in_its_own_type(published_weights, tmp_path):
    convert(published_weights, tmp_path / "n.safetensors")
    convert(tmp_path / "n.safetensors", tmp_path / "n.pt")
    with open_torch_archive(published_weights) as first, open_torch_archive(tmp_path / "n.pt") as second:
        theirs, ours = tensors_of(first), tensors_of(second)
    assert list(ours) == list(theirs) and len(ours) == 349
    for key, value in theirs.items():
        assert ours[key].dtype == value.dtype, key
        assert ours[key].numpy().tobytes() == value.numpy().tobytes(), key


def test_its_objects_have_the_classes_attributes_and_kinds_of_values_of_the_published_file(published_weights, tmp_path):
    convert(published_weights, tmp_path / "n.pt", to="yolov5-pt")
    with open_torch_archive(published_weights) as first, open_torch_archive(tmp_path / "n.pt") as second:
        theirs, ours = first.content["model"], second.content["model"]
    # The root's class has another name since 2022-08; what only training needs is left out.
    differs = {"": {"yaml_file", "hyp", "class_weights", "names"}}
    for (place, kind, expected), (our_place, our_kind, found) in zip(layout_of(theirs), layout_of(ours), strict=True):
        assert our_place == place
        assert our_kind == kind or (kind, our_kind) == ("models.yolo.Model", "models.yolo.DetectionModel")
        for name, value in expected.items():
            if name in differs.get(place, ()):
                continue
            assert type(found[name]) is type(value), (place, name)
            if not isinstance(value, (Stub, dict, TensorRecord)) and name not in ("inplace", "scale_factor", "grid"):
                same = [type(one) for one in found[name]] if name == "anchor_grid" else found[name]
                assert same == ([type(one) for one in value] if name == "anchor_grid" else value), (place, name)
        known_to_newer_torch = {"recompute_scale_factor"}
        assert set(found) - set(expected) <= known_to_newer_torch, place


def test_the_file_runs_in_classes_of_those_names_and_finds_the_same_boxes(published_weights, yolov5_classes, tmp_path):
    convert(published_weights, tmp_path / "n.pt", to="yolov5-pt")
    assert_runs_alike(tmp_path / "n.pt", detector_from_weights(load_weights(published_weights)))


# Any detector


def assert_runs_alike(path: Path, detector: Detector) -> None:
    """Check that the unpickled file computes what `detector` computes."""
    model = torch.load(path, weights_only=False, map_location="cpu")["model"].float().eval()
    images = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(1))
    detector.eval()
    with torch.no_grad():
        boxes, raws = model(images)
        expected = detector(images)
        for found, ours in zip(raws, expected, strict=True):
            torch.testing.assert_close(found, ours, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(boxes, detector.decode(expected), rtol=1e-4, atol=1e-3)
    assert (model.names, model.nc) == (detector.names, detector.nc)
    assert model.stride.tolist() == list(detector.strides)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {key: value.shape for key, value in model.state_dict().items()}.keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    "spec",
    [
        EVERY_LAYER,
        {**EVERY_LAYER, "activation": "LeakyReLU(negative_slope=0.2, inplace=True)"},
        {**EVERY_LAYER, "activation": "nn.Hardswish", "width_multiple": 0.5},
        "yolov5n6",
    ],
    ids=["every layer", "leaky", "hardswish", "P6"],
)
def test_every_layer_that_a_model_yaml_may_name_comes_over(spec, yolov5_classes, tmp_path):
    content = model_spec(spec) if isinstance(spec, str) else copy.deepcopy(spec)
    detector = lively(build_detector(content, {0: "ant", 1: "bee", 2: "人"}))
    path = written(tmp_path / "x.pt", detector)
    assert_runs_alike(path, detector)
    weights = load_weights(path)
    expected = detector.state_dict()
    assert weights.state.keys() == expected.keys()
    assert all(torch.equal(value, weights.state[key]) for key, value in expected.items())
    again = detector_from_weights(weights).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(again(image), detector(image), strict=True))


def test_the_yaml_in_the_file_builds_the_same_detector(tmp_path):
    detector = build_detector(copy.deepcopy({**EVERY_LAYER, "activation": "torch.nn.ELU"}), {0: "x"})
    with open_torch_archive(written(tmp_path / "x.pt", detector)) as archive:
        model = archive.content["model"]
    spec = model.attributes["yaml"]
    assert spec["activation"] == "nn.ELU(1.0)"
    twin = build_detector(spec, {0: "x"})
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in detector.state_dict().items()}
    assert (twin.sources, twin.strides) == (detector.sources, detector.strides)
    rows = [*spec["backbone"], *spec["head"]]
    layers = list(model.part("_modules")["model"].part("_modules").values())
    assert [row[0] for row in rows] == [layer.attributes["f"] for layer in layers]
    # A number counted back is written as the layer's own; what takes one input has no list, what joins has one.
    assert (rows[7][0], rows[8][0], rows[12][0], rows[25][0]) == (5, 6, -1, [23, 24])
    assert model.attributes["save"] == [5, 6, 7, 8, 23, 24]


def test_a_layer_without_counterpart_is_one_line_and_nothing_is_written(tiny, tmp_path):
    tiny.model[2].m.append(nn.Hardtanh())
    with pytest.raises(CheckpointError) as raised:
        written(tmp_path / "x.pt", tiny)
    assert str(raised.value) == ("YOLOv5 has no such layer in layer 2, C3: Hardtanh; keep the weights as .safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_fused_detector_is_not_saved(tiny, tmp_path):
    with pytest.raises(ValueError, match="fused"):
        written(tmp_path / "x.pt", tiny.fuse())


# Precision


def stored_types(path: Path) -> set[torch.dtype]:
    with open_torch_archive(path) as archive:
        return {value.dtype for value in tensors_of(archive).values()}


def test_numbers_are_halved_only_where_each_survives_it(tiny, tmp_path):
    assert stored_types(written(tmp_path / "single.pt", tiny)) == {torch.float32, torch.int64}
    assert stored_types(written(tmp_path / "half.pt", tiny.half().float())) == {torch.float16, torch.int64}
    with torch.no_grad():
        tiny.model[0].conv.weight[0, 0, 0, 0] = 1 + 2**-11
    path = written(tmp_path / "one.pt", tiny)
    assert stored_types(path) == {torch.float32, torch.int64}
    assert float(load_weights(path).state["model.0.conv.weight"][0, 0, 0, 0]) == 1 + 2**-11


def test_anchors_that_half_precision_would_move_keep_the_file_in_float32(tiny, tmp_path):
    half = tiny.half().float()
    half.set_anchors_px([[[10.3, 13], [16, 30]], [[30, 61], [62, 45]]])
    path = written(tmp_path / "x.pt", half)
    assert stored_types(path) == {torch.float32, torch.int64}
    assert torch.equal(load_weights(path).state["model.8.anchors"], half.anchors)


@given(st.lists(st.one_of(st.floats(width=16), st.floats(width=32)), max_size=8))
def test_surviving_half_precision_is_what_python_says_of_each_number(values):
    bits = torch.tensor(values, dtype=torch.float32)
    expected = all(
        math.isnan(value) or (math.isinf(value) or abs(value) <= 65504 and value == float(torch.tensor(value).half()))
        for value in values
    )
    if not any(map(math.isnan, values)):
        assert survives_half(bits) == expected
    elif survives_half(bits):
        assert expected


# The container


def test_equal_weights_are_equal_bytes_written_with_ordinary_rights(tiny, tmp_path):
    paths = [written(tmp_path / name, tiny) for name in ("a.pt", "b.pt")]
    assert sha256_file(paths[0]) == sha256_file(paths[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_numbers_begin_where_a_mapped_file_can_be_computed_on(tiny, yolov5_classes, tmp_path):
    path = written(tmp_path / "x.pt", tiny)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            name, extra = content[info.header_offset + 26 : info.header_offset + 30 : 2], info.extra
            assert len(name) == 2
            assert (info.header_offset + 30 + len(info.filename) + len(extra)) % ALIGNMENT == 0, info.filename
    mapped = torch.load(path, weights_only=False, mmap=True)["model"]
    assert torch.equal(mapped.model[0].conv.weight.float(), tiny.model[0].conv.weight)


# Licence and provenance


def note_in(path: Path) -> dict[str, Any]:
    with open_torch_archive(path) as archive:
        return json.loads(archive.content["accel_yolo"])


def with_note(path: Path, target: Path, text: Any) -> Path:
    """Write a copy of a file with another note, by unpickling and pickling it in classes of YOLOv5's names."""
    content = torch.load(path, weights_only=False)
    content["accel_yolo"] = text
    torch.save(content, target)
    return target


def test_weights_from_scratch_stay_their_owners_on_the_way_through_a_pt_file(tiny, tmp_path, capsys):
    save_weights(tmp_path / "a.safetensors", tiny, WeightsMeta.of(tiny, 320, "trained on demo"))
    convert(tmp_path / "a.safetensors", tmp_path / "b.pt")
    convert(tmp_path / "b.pt", tmp_path / "c.safetensors")
    first, last = load_weights(tmp_path / "a.safetensors"), load_weights(tmp_path / "c.safetensors")
    assert last.meta.licence == "not stated"
    assert last.meta.provenance == (
        "trained on demo",
        "converted to a YOLOv5 .pt",
        "converted to safetensors",
    )
    assert "AGPL" not in capsys.readouterr().err
    assert (last.meta.imgsz, last.meta.names, last.meta.strides) == (320, first.meta.names, first.meta.strides)
    assert all(torch.equal(value, last.state[key]) for key, value in first.state.items())


def test_the_licence_of_a_yolov5_checkpoint_goes_along_both_ways(shop, write_pt, tiny, tmp_path):
    convert(write_pt({"model": shop.model(tiny)}), tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.pt")
    meta = load_weights(tmp_path / "b.pt").meta
    assert meta.licence == "AGPL-3.0"
    assert [step.split(" ")[0] for step in meta.provenance] == ["imported", "converted", "converted"]
    assert "foreign.pt" in meta.provenance[0]


def test_the_owners_own_licence_goes_along(tiny, tmp_path):
    path = written(tmp_path / "x.pt", tiny, licence="Apache-2.0")
    assert load_weights(path).meta.licence == "Apache-2.0"


def test_a_file_that_yolov5_shortened_keeps_its_note(tiny, yolov5_classes, tmp_path):
    path = written(tmp_path / "x.pt", tiny)
    content = torch.load(path, weights_only=False)
    content["model"].half()
    torch.save(content, tmp_path / "short.pt")
    assert load_weights(tmp_path / "short.pt").meta.licence == "not stated"


def test_a_note_beside_other_weights_counts_for_nothing(tiny, yolov5_classes, tmp_path, capsys):
    content = torch.load(written(tmp_path / "x.pt", tiny), weights_only=False)
    with torch.no_grad():
        content["model"].model[0].conv.weight[0, 0, 0, 0] += 0.25
    torch.save(content, tmp_path / "trained.pt")
    meta = load_weights(tmp_path / "trained.pt").meta
    assert meta.licence == "AGPL-3.0" and "trained.pt" in meta.provenance[0]
    assert capsys.readouterr().err.count("a note of accel_yolo that is not about these weights") == 1


def test_a_note_that_contradicts_itself_is_read_as_the_stricter_licence(tiny, yolov5_classes, tmp_path, capsys):
    steps = ("imported from the YOLOv5 checkpoint x.pt (model; sha256 0)", "fine-tuned")
    path = written(tmp_path / "x.pt", tiny, licence="MIT", provenance=steps)
    assert note_in(path)["licence"] == "MIT"
    assert load_weights(path).meta.licence == "AGPL-3.0"
    save_weights(tmp_path / "x.safetensors", tiny, WeightsMeta(**{**vars(meta_of(tiny)), "provenance": steps}))
    assert load_weights(tmp_path / "x.safetensors").meta.licence == "AGPL-3.0"
    assert capsys.readouterr().err.count("comes from a YOLOv5 checkpoint; taken as AGPL-3.0") == 2


def meta_of(detector: Detector) -> WeightsMeta:
    return WeightsMeta.of(detector, 64, "x")


WRONG_NOTES = {
    "a number": 7,
    "no JSON": "licence: MIT",
    "a list": "[]",
    "deep": "[" * 100_000,
    "empty": "{}",
    "another format": '{"format": 2, "licence": "MIT", "provenance": [], "sha256": ""}',
    "a licence that is a list": '{"format": 1, "licence": ["MIT"], "provenance": [], "sha256": ""}',
    "steps that are numbers": '{"format": 1, "licence": "MIT", "provenance": [1], "sha256": ""}',
    "no digest": '{"format": 1, "licence": "MIT", "provenance": []}',
    "another digest": '{"format": 1, "licence": "MIT", "provenance": [], "sha256": "00"}',
    "huge": '{"format": 1, "licence": "' + "x" * (5 << 20) + '"}',
}


@pytest.mark.parametrize("name", WRONG_NOTES)
def test_a_note_of_another_form_never_weakens_the_licence(name, tiny, yolov5_classes, tmp_path):
    path = with_note(written(tmp_path / "x.pt", tiny), tmp_path / "y.pt", WRONG_NOTES[name])
    weights = load_weights(path)
    assert weights.meta.licence == "AGPL-3.0"
    assert all(torch.equal(value, weights.state[key]) for key, value in tiny.state_dict().items())


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.text(max_size=5), st.just(AGPL)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
STATE = {"model.0.conv.weight": torch.ones(2, 3)}
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.one_of(st.just(1), JSON),
        "licence": st.one_of(st.just("MIT"), JSON),
        "provenance": st.one_of(st.just(["trained on x"]), st.just([f"{IMPORTED} x.pt"]), JSON),
        "sha256": st.one_of(st.just(digest(STATE)), JSON),
    },
)


@settings(max_examples=200)
@given(st.one_of(JSON, FIELDS, FIELDS.map(json.dumps), JSON.map(json.dumps), st.text()))
def test_whatever_stands_in_the_place_of_a_note_gives_a_note_about_these_weights_or_none(value):
    with contextlib.redirect_stderr(io.StringIO()):
        note = own_note({KEY: value}, STATE, "x.pt")
    if note is not None:
        fields = json.loads(value)
        assert fields["sha256"] == digest(STATE)
        assert list(note.provenance) == fields["provenance"] and all(isinstance(s, str) for s in note.provenance)
        from_yolov5 = any(step.startswith(IMPORTED) for step in note.provenance)
        assert AGPL in note.licence if from_yolov5 else note.licence == fields["licence"]


def test_a_digest_tells_names_shapes_and_values_apart_but_not_roundings_to_half_precision():
    one = torch.tensor([[1.0, 2.0]])
    seen = {
        digest({"a": one}),
        digest({"b": one}),
        digest({"a": one.T}),
        digest({"a": one + 0.01}),
        digest({"a": one.long()}),
        digest({"a": one, "b": one}),
        digest({}),
    }
    assert len(seen) == 7
    assert digest({"a": one + 1e-7}) == digest({"a": one.half()}) == digest({"a": one})


# The names of files


@pytest.mark.parametrize(
    ("source", "destination", "to", "made"),
    [
        ("a.safetensors", "", "yolov5-pt", "a.pt"),
        ("a.safetensors", "b.pt", "auto", "b.pt"),
        ("a.safetensors", "b.safetensors", "auto", "b.safetensors"),
        ("a.safetensors", "sub/b.pt", "yolov5-pt", "sub/b.pt"),
    ],
)
def test_the_format_is_that_of_the_name_or_of_the_flag(source, destination, to, made, tiny, tmp_path):
    save_weights(tmp_path / source, tiny, meta_of(tiny))
    assert convert(tmp_path / source, tmp_path / destination if destination else "", to) == tmp_path / made
    assert load_weights(tmp_path / made).meta.names == tiny.names


@pytest.mark.parametrize(
    ("destination", "to"), [("b.safetensors", "yolov5-pt"), ("b.pt", "safetensors"), ("b.onnx", "auto"), ("b", "auto")]
)
def test_a_name_that_contradicts_the_format_is_refused_before_anything_is_read(destination, to, tmp_path):
    with pytest.raises(ConfigError, match="the destination"):
        convert(tmp_path / "missing.pt", tmp_path / destination, to)


def test_a_pt_file_may_become_another_pt_file(tiny, tmp_path):
    first = written(tmp_path / "a.pt", tiny)
    convert(first, tmp_path / "b.pt")
    a, b = load_weights(first), load_weights(tmp_path / "b.pt")
    assert isinstance(a, Weights) and all(torch.equal(value, b.state[key]) for key, value in a.state.items())
    with pytest.raises(CheckpointError, match="destination exists"):
        convert(first, tmp_path / "b.pt")
