"""A model YAML is read by a table of names: numbers are scaled as documented, mistakes are named, text never runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from accel_yolo.errors import ConfigError
from accel_yolo.models import blocks
from accel_yolo.models.activations import parsed_activation
from accel_yolo.models.graph import BUILDERS, scaled_channels, scaled_repeats
from accel_yolo.models.zoo import build_detector, model_spec

NAMES = {0: "a", 1: "b"}


@pytest.mark.parametrize(
    ("base", "width", "multiple", "expected"),
    [
        (64, 0.25, 8, 16),
        (1024, 1.25, 8, 1280),
        (100, 0.33, 8, 40),
        (64, 0.33, 16, 32),
        (1, 0.01, 8, 8),
        (768, 0.75, 8, 576),
    ],
)
def test_channels_are_rounded_up_to_a_multiple(base, width, multiple, expected):
    assert scaled_channels(base, width, multiple) == expected


@pytest.mark.parametrize(
    ("listed", "depth", "expected"),
    [(3, 0.33, 1), (6, 0.33, 2), (9, 0.67, 6), (9, 1.33, 12), (1, 0.1, 1), (5, 0.5, 2), (3, 0.1, 1)],
)
def test_repeats_are_rounded_half_to_even_and_never_below_one(listed, depth, expected):
    assert scaled_repeats(listed, depth) == expected


def test_channel_multiple_replaces_the_eight(tiny_spec):
    detector = build_detector({**tiny_spec, "width_multiple": 0.3, "channel_multiple": 4}, NAMES)
    assert detector.model[0].conv.out_channels == 4
    assert detector.model[1].conv.out_channels == 8


def test_outputs_as_wide_as_the_head_are_scaled_like_all_others(tiny_spec):
    """A class count may by chance make a layer as wide as the head's output: that means nothing."""
    tiny_spec["backbone"][2][3] = [32]
    detector = build_detector({**tiny_spec, "width_multiple": 0.5}, {i: str(i) for i in range(11)})
    assert detector.model[2].cv3.conv.out_channels == 16


def test_repeats_of_a_plain_module_are_a_sequence_and_of_a_csp_block_its_inner_count(tiny_spec):
    tiny_spec["backbone"][1][1] = 2
    tiny_spec["backbone"][2][1] = 3
    detector = build_detector(tiny_spec, NAMES)
    assert isinstance(detector.model[1], nn.Sequential) and len(detector.model[1]) == 2
    assert isinstance(detector.model[2], blocks.C3) and len(detector.model[2].m) == 3


def test_the_number_of_classes_is_that_of_the_names_not_of_the_yaml(tiny_spec):
    tiny_spec["nc"] = 80
    tiny_spec["head"][-1][3] = [80, "anchors"]
    detector = build_detector(tiny_spec, NAMES)
    assert (detector.nc, detector.spec["nc"]) == (2, 2)
    assert detector.head.m[0].out_channels == 2 * 7


def test_the_specification_handed_in_is_not_changed(tiny_spec):
    import copy

    before = copy.deepcopy(tiny_spec)
    build_detector(tiny_spec, NAMES).set_anchors_px(torch.ones(2, 2, 2))
    assert tiny_spec == before


def test_a_custom_yaml_file_builds(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
nc: 2
depth_multiple: 1.0
width_multiple: 0.5
activation: nn.LeakyReLU(0.1, inplace=True)
ch: 1
anchors:
  - [10,13, 16,30]
backbone:
  [[-1, 1, Conv, [16, 3, 2]],
   [-1, 2, C3, [16, False]],
   [-1, 1, nn.MaxPool2d, [2, 2]],
   [-2, 1, Conv, [32, 3, 2]],
   [[-1, -2], 1, Concat, [1]]]
head:
  [[-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1], 1, Detect, [nc, anchors]]]
"""
    )
    detector = build_detector(model_spec(str(path)), NAMES)
    assert detector.strides == (2,)
    assert isinstance(detector.model[0].act, nn.LeakyReLU) and not detector.model[0].act.inplace
    assert detector(torch.zeros(2, 1, 32, 32))[0].shape == (2, 2, 16, 16, 7)


SAMPLES = {
    "Conv": [16, 3, 1], "DWConv": [16, 3], "CrossConv": [16, 3], "Focus": [16, 3], "Bottleneck": [16],
    "SPP": [16, [5, 9, 13]],
    "SPPF": [16, 5], "GhostConv": [16, 3], "GhostBottleneck": [16, 3, 1], "nn.ConvTranspose2d": [16, 2, 2], "C3": [16],
    "C3x": [16], "C3Ghost": [16], "C3TR": [16], "Contract": [2], "Expand": [2], "nn.Identity": [], "nn.MaxPool2d": [2],
    "nn.ZeroPad2d": [[0, 2, 0, 2]], "nn.Upsample": [None, 2, "nearest"],
}  # fmt: skip


def test_every_module_of_the_table_has_a_sample():
    assert set(SAMPLES) | {"Concat", "Detect"} == set(BUILDERS)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_module_of_the_table_builds_runs_and_learns(name):
    spec = {
        "anchors": [[10, 13]],
        "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, name, SAMPLES[name]]],
        "head": [[-1, 1, "Conv", [8, 2, 2, 0]], [[-1], 1, "Detect", ["nc", "anchors"]]],
    }
    if name == "nn.ZeroPad2d":
        spec["head"][0][3] = [8, 4, 2, 0]
    detector = build_detector(spec, NAMES)
    raw = detector(torch.rand(2, 3, 64, 64))[0]
    raw.square().sum().backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())
    detector.eval().fuse()
    torch.testing.assert_close(detector(torch.rand(2, 3, 64, 64))[0].shape, raw.shape)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nn.SiLU()", nn.SiLU), ("SiLU", nn.SiLU), ("nn.ReLU", nn.ReLU), ("nn.LeakyReLU(0.1)", nn.LeakyReLU),
        ("nn.LeakyReLU(negative_slope=1e-1, inplace=True)", nn.LeakyReLU), ("torch.nn.Hardswish()", nn.Hardswish),
    ],
)  # fmt: skip
def test_activations_are_found_by_name_and_never_work_in_place(text, expected):
    activation = parsed_activation(text, "here")()
    assert type(activation) is expected
    assert not getattr(activation, "inplace", False)
    assert getattr(activation, "negative_slope", 0.1) == 0.1


@pytest.mark.parametrize(
    "text",
    [
        "nn.LeakyRelu(0.1)",
        "__import__('os').system('true')",
        "nn.LeakyReLU(x)",
        "nn.SiLU(3)",
        "nn.LeakyReLU(0.1)(2)",
        7,
        "",
    ],
)
def test_other_activations_are_refused_and_not_evaluated(text):
    with pytest.raises(ConfigError, match="activation"):
        parsed_activation(text, "here")


def changed(spec, layer, column, value):
    rows = spec["backbone"] + spec["head"]
    rows[layer][column] = value
    return spec


@pytest.mark.parametrize(
    ("layer", "column", "value", "words"),
    [
        (2, 2, "C3k", "layer 2: C3k; did you mean 'C3"),
        (2, 2, "__import__('os').system('true')", "unknown module"),
        (2, 2, "BottleneckCSP", "v1 to v3"),
        (8, 2, "Segment", "segmentation is not available yet"),
        (0, 3, [8, 3, 2, 1, 1, 1, 7, 7], "cannot build Conv"),
        (0, 3, [], "cannot build Conv"),
        (0, 3, ["__import__('os')", 3], "cannot build Conv"),
        (0, 3, [8, "nc()"], "cannot build Conv"),
        (0, 3, [8, {"k": 3}], "layer argument"),
        (0, 3, [-8, 3], "above 0"),
        (0, 3, [True, 3], "above 0"),
        (0, 3, [10**9, 3], "at most"),
        (0, 1, 0, "repeats"),
        (0, 1, 2.5, "repeats"),
        (0, 0, 0, "no earlier layer"),
        (3, 0, 3, "no earlier layer"),
        (3, 0, -9, "no earlier layer"),
        (3, 0, "x", "'from'"),
        (3, 0, [-1, 2], "one input"),
        (6, 3, [2], "dimension 1"),
        (5, 3, [None, 3, "nearest"], "nn.Upsample"),
        (5, 1, 2, "takes no repeats"),
        (6, 1, 2, "takes no repeats"),
        (8, 1, 2, "takes no repeats"),
        (8, 3, ["nc", "anchors", 1], r"\[nc, anchors\]"),
    ],
)
def test_a_wrong_layer_is_named_with_its_number(tiny_spec, layer, column, value, words):
    with pytest.raises(ConfigError, match=words) as raised:
        build_detector({**changed(tiny_spec, layer, column, value), "file": "mine.yaml"}, NAMES)
    line = str(raised.value)
    assert "mine.yaml, layer " in line and "\n" not in line


def test_layers_of_different_size_are_refused_where_they_meet(tiny_spec):
    tiny_spec["head"][1][0] = [-1, 1, 0]
    with pytest.raises(ConfigError, match=r"do not fit together in model, layer 6"):
        build_detector(tiny_spec, NAMES)


@pytest.mark.parametrize("row", [5, [1, 2, 3], [-1, 1, 7, []], [-1, 1, "Conv", 8]])
def test_a_row_that_is_no_layer_is_refused(tiny_spec, row):
    tiny_spec["backbone"][1] = row
    with pytest.raises(ConfigError, match=r"layer 1.*"):
        build_detector(tiny_spec, NAMES)


def test_a_model_ends_in_its_one_detect(tiny_spec):
    tiny_spec["head"].append([-1, 1, "nn.Identity", []])
    with pytest.raises(ConfigError):
        build_detector(tiny_spec, NAMES)
    with pytest.raises(ConfigError, match="one Detect"):
        build_detector({**tiny_spec, "head": tiny_spec["head"][:-2]}, NAMES)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width_multiple", 0), ("width_multiple", "0.5x"), ("depth_multiple", True), ("channel_multiple", 0),
        ("ch", -1),
        ("anchors", 0), ("anchors", [[10, 13, 16]] * 2), ("anchors", [[10, 13], [1, 2, 3, 4]]), ("anchors", "auto"),
        ("anchors", [[10, -13]] * 2), ("anchors", [[10, 13]] * 3), ("anchors", [[]]), ("backbone", {}),
    ],
)  # fmt: skip
def test_a_wrong_number_is_refused_by_key(tiny_spec, key, value):
    with pytest.raises(ConfigError, match=key):
        build_detector({**tiny_spec, key: value}, NAMES)
