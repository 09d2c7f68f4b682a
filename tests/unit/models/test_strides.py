"""Strides are measured at a cost that no description of an architecture can raise."""

from __future__ import annotations

import pytest
import torch

from accel_yolo.errors import ConfigError
from accel_yolo.models import strides
from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import model_spec


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where strides are measured, in order of time."""
    found: list[str] = []
    original = strides._heights

    def recorded(network, channels, place):
        found.append(place.type)
        return original(network, channels, place)

    monkeypatch.setattr(strides, "_heights", recorded)
    return found


def built(spec: dict) -> Detector:
    with torch.device("meta"):
        return Detector(spec, {0: "cat"}, "mine.yaml")


@pytest.mark.parametrize("name", ["yolov5n", "yolov5x", "yolov5x6"])
def test_published_models_are_measured_with_numbers_and_without_alike(name, places, monkeypatch):
    usual = built(model_spec(name)).strides
    assert places == ["cpu"]
    monkeypatch.setattr(strides, "MOST_WORK", 0)
    assert built(model_spec(name)).strides == usual
    assert places == ["cpu", "cpu", "meta"]


def tiny(backbone: list, origin: int) -> dict:
    """A spec of some layers and one level that reads the last of them."""
    return {"anchors": [[10, 13]], "backbone": backbone, "head": [[[origin], 1, "Detect", ["nc", "anchors"]]]}


CONV = [-1, 1, "Conv", [8, 3, 1]]
COSTLY = {
    "a kernel of 128": ([[-1, 1, "Conv", [64, 128, 2]]], "output sizes do not divide"),
    "65536 channels": ([[-1, 1, "Conv", [65536, 3, 1]], [-1, 1, "Conv", [65536, 3, 1]]], 1),
    "a frame of 30000 pixels": ([[-1, 1, "nn.ZeroPad2d", [30000]], CONV], "output sizes do not divide"),
    "padding of 30000 pixels": ([[-1, 1, "Conv", [8, 3, 1, 30000]]], "output sizes do not divide"),
    "enlarged 4096 times": ([[-1, 1, "nn.Upsample", ["None", 8, "nearest"]]] * 4 + [CONV], "output sizes do not"),
    "enlarged by strides": ([[-1, 1, "nn.ConvTranspose2d", [8, 64, 64]]] * 2, "output sizes do not divide"),
    "a pool of 129 pixels": ([[-1, 1, "nn.MaxPool2d", [129, 1, 64]], CONV] * 12, 1),
    "attention between all pixels": ([[-1, 1, "C3TR", [8]]], 1),
    "doubled twelve times": ([CONV, *([[[-1, -1], 1, "Concat", [1]]] * 12)], 1),
    "enlarged by dilation": (
        [CONV, [-1, 1, "nn.ConvTranspose2d", [64, 3, 1, 0, 0, 1, True, 5000]]],
        "output sizes do not divide",
    ),
    "as many blocks as may be": ([[-1, 124, "C3Ghost", [64]]] * 2, 1),
    "many layers": ([[-1, 1, "Conv", [512, 3, 1]]] * 40, 1),
}


@pytest.mark.parametrize("case", COSTLY)
def test_what_would_cost_too_much_is_measured_without_numbers(case, places):
    backbone, expected = COSTLY[case]
    spec = tiny(backbone, len(backbone) - 1)
    if isinstance(expected, int):
        assert built(spec).strides == (expected,)
    else:
        with pytest.raises(ConfigError, match=f"{expected}.* in mine.yaml"):
            built(spec)
    assert places == ["cpu", "meta"]


def test_what_does_not_fit_together_is_named_with_its_layer_either_way(places):
    apart = [[-1, 1, "Conv", [64, 127, 2]], [-1, 1, "Conv", [8, 2, 2, 0]], [[0, 1], 1, "Concat", [1]]]
    with pytest.raises(ConfigError, match="layers do not fit together in mine.yaml, layer 2: Sizes of tensors must"):
        built(tiny(apart, 2))
    assert places == ["cpu", "meta"]


@pytest.mark.parametrize(
    ("backbone", "line"),
    [
        ([[-1, 100, "C3", [8]]] * 4, "too many blocks in mine.yaml, layer 2: 300 so far; at most 250"),
        ([[-1, 1, "SPP", [8, [1] * 17]]], "cannot build SPP in mine.yaml, layer 0: .*17 pools, at most 16"),
        ([CONV, *([[[-1, -1], 1, "Concat", [1]]] * 14)], "too many channels in mine.yaml, layer 14: 131072; at most"),
    ],
)
def test_what_would_take_too_long_to_build_is_refused(backbone, line):
    with pytest.raises(ConfigError, match=line):
        built(tiny(backbone, len(backbone) - 1))


@pytest.mark.parametrize(
    "layer",
    [
        ["Conv", [8, [3, 3, 3], 1]],
        ["Conv", [8, [3], 1, 1]],
        ["Conv", [8, 3, [2, 2, 2]]],
        ["Conv", [8, 3, 0]],
        ["Conv", [8, 3, 1, True]],
        ["nn.MaxPool2d", [[2, 2, 2]]],
        ["nn.MaxPool2d", [2.5]],
        ["nn.MaxPool2d", ["None"]],
        ["nn.MaxPool2d", [2, 2, 0, 1, True]],
        ["nn.ZeroPad2d", [1.5]],
        ["SPPF", [8, 5.5]],
    ],
    ids=str,
)
def test_arguments_that_torch_cannot_work_with_are_one_line(layer):
    name, args = layer
    with pytest.raises(
        ConfigError, match=r"(layers do not fit together|cannot build \S+) in mine.yaml, layer \d"
    ) as told:
        built(tiny([[-1, 1, name, args], CONV], 1))
    assert "\n" not in str(told.value) and not str(told.value).endswith(": ")


@pytest.mark.parametrize("layer", [["Conv", [8, 3, 1, [1]]], ["nn.ZeroPad2d", [[1, 1]]]], ids=str)
def test_arguments_that_torch_takes_are_taken(layer):
    name, args = layer
    assert built(tiny([[-1, 1, name, args], CONV], 1)).strides == (1,)


@pytest.mark.parametrize("kind", ["a list in itself", "lists of lists of lists", "deep"])
def test_lists_without_end_are_refused(kind):
    endless: list = [-1, 1, "Conv", [8, 3, 1]]
    if kind == "a list in itself":
        endless[3].append(endless)
    for _ in range(40):
        endless = [endless, endless] if kind == "lists of lists of lists" else [endless]
    with pytest.raises(ConfigError, match="'backbone' holds what no YAML can hold in mine.yaml"):
        built(tiny([endless], 0))
