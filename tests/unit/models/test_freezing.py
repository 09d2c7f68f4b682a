"""`--freeze`: layers by number, sections and parameters by name."""

from __future__ import annotations

from typing import Any

import pytest

from accel_yolo.errors import ConfigError
from accel_yolo.models.detector import Detector
from accel_yolo.models.freezing import freeze, frozen_share


def frozen_layers(detector: Detector) -> set[int]:
    """Return the layers that have parameters, all of them frozen; check that no layer is frozen in part."""
    found = set()
    for number, layer in enumerate(detector.model):
        kinds = {parameter.requires_grad for parameter in layer.parameters()}
        assert len(kinds) <= 1
        found |= {number} if kinds == {False} else set()
    return found


# Layers 5 and 6 have no parameters.
@pytest.mark.parametrize(
    ("typed", "frozen"),
    [
        ((0,), set()),
        ((), set()),
        ((3,), {0, 1, 2}),
        ((1, 4), {1, 4}),
        ((0, 2), {0, 2}),
        ((8,), {0, 1, 2, 3, 4, 7}),
        (("backbone",), {0, 1, 2, 3, 4}),
        (("neck",), {7}),
        (("head",), {8}),
        (("backbone", "head"), {0, 1, 2, 3, 4, 8}),
        (("model.1",), {1}),
        ((3, "head"), {3, 8}),
        (("model.[02]",), {0, 2}),
    ],
)
def test_what_is_named_is_frozen_and_nothing_else(tiny: Detector, typed: Any, frozen: set[int]) -> None:
    freeze(tiny, typed)
    assert frozen_layers(tiny) == frozen


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("model.0.conv", ["model.0.conv.weight"]),
        ("model.1.bn.bias", ["model.1.bn.bias"]),
        ("model.*.bn", [f"model.{n}.bn.{kind}" for n in (0, 1, 3) for kind in ("weight", "bias")]),
        ("model.8.m.?.bias", ["model.8.m.0.bias", "model.8.m.1.bias"]),
    ],
)
def test_a_name_ends_at_a_dot_and_a_pattern_may_reach_into_layers(
    tiny: Detector, typed: str, expected: list[str]
) -> None:
    found = freeze(tiny, (typed,))
    inner = [name for name in found if name.count(".") == expected[0].count(".")]
    assert [name for name in inner if name.split(".")[1] in {each.split(".")[1] for each in expected}] == expected
    assert {name for name, parameter in tiny.named_parameters() if not parameter.requires_grad} == set(found)


def test_a_prefix_that_ends_within_a_word_freezes_nothing_else(tiny: Detector) -> None:
    assert all(name.startswith("model.1.") for name in freeze(tiny, ("model.1",)))
    with pytest.raises(ConfigError, match="no parameter of that name in --freeze: model.0.con; did you mean"):
        freeze(tiny, ("model.0.con",))


@pytest.mark.parametrize("typed", [(10,), (-1,), (1, 9), (3, -2), (9,), ("backbone", "neck", "head"), ("*",)])
def test_layers_that_do_not_exist_or_all_of_them_are_an_error(tiny: Detector, typed: Any) -> None:
    with pytest.raises(ConfigError, match="--freeze"):
        freeze(tiny, typed)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [("bakbone", "did you mean 'backbone'?"), ("model.2.cv1.cov", "did you mean 'model.2.cv1.conv'?")],
)
def test_an_unknown_name_gets_the_nearest_one(tiny: Detector, typed: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        freeze(tiny, ("head", typed))
    assert f"--freeze: {typed}; {hint}" in str(raised.value)
    assert all(parameter.requires_grad for parameter in tiny.parameters()), "a wrong name changes nothing"


def test_the_share_of_frozen_parameters_is_counted(tiny: Detector) -> None:
    total = sum(parameter.numel() for parameter in tiny.parameters())
    assert frozen_share(tiny) == f"0 of {total:,} parameters"
    freeze(tiny, ("model.0.conv.weight",))
    assert frozen_share(tiny) == f"{8 * 3 * 3 * 3} of {total:,} parameters"
