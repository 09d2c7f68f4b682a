"""A detector is an ordinary module: raw outputs in every mode, copyable, and indifferent to the memory format."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from accel_yolo.errors import ConfigError
from accel_yolo.models.blocks import Bottleneck, Conv, Focus
from accel_yolo.models.heads import decode_level
from accel_yolo.models.zoo import build_detector


def images(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def wakened(detector):
    """Give the statistics of normalisation values that differ from channel to channel."""
    with torch.no_grad():
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm2d):
                for value in (module.weight, module.bias, module.running_mean, module.running_var):
                    value.copy_(torch.rand(value.shape, generator=torch.Generator().manual_seed(value.numel())) + 0.5)
    return detector


@pytest.mark.parametrize("training", [True, False])
def test_forward_returns_raw_levels_in_training_and_in_evaluation(tiny, training):
    raws = tiny.train(training)(images())
    assert [tuple(raw.shape) for raw in raws] == [(2, 2, 8, 8, 7), (2, 2, 4, 4, 7)]


def test_raw_outputs_are_views_of_the_head_convolution(tiny):
    raws = tiny(images())
    assert all(raw._is_view() and not raw.is_contiguous() for raw in raws)


def test_channels_last_gives_the_same_numbers(tiny):
    tiny.eval()
    with torch.no_grad():
        plain = tiny.decode(tiny(images()))
        tiny.to(memory_format=torch.channels_last)
        last = tiny.decode(tiny(images().to(memory_format=torch.channels_last)))
    torch.testing.assert_close(last, plain, rtol=1e-5, atol=1e-5)


def test_every_output_carries_gradient_to_every_parameter(tiny):
    sum(raw.sum() for raw in tiny(images())).backward()
    assert all(parameter.grad is not None for parameter in tiny.parameters())


def test_no_layer_changes_its_input(tiny):
    seen = []
    for layer in tiny.model:
        layer.register_forward_hook(lambda _m, args, _o: seen.append((args[0], copy.deepcopy(args[0]))))
    with torch.no_grad():
        tiny.eval()(images())
    for after, before in seen:
        if isinstance(after, torch.Tensor):
            assert torch.equal(after, before)


def test_a_copy_and_a_pickled_twin_compute_the_same(tiny):
    tiny.eval()
    expected = tiny.decode(tiny(images()))
    for twin in (copy.deepcopy(tiny), pickle.loads(pickle.dumps(tiny))):
        assert twin.strides == tiny.strides and twin.names == tiny.names and twin.spec == tiny.spec
        assert torch.equal(twin.decode(twin(images())), expected)


def test_a_copy_shares_nothing(tiny):
    twin = copy.deepcopy(tiny)
    twin.set_anchors_px([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert tiny.anchors_px[0, 0].tolist() == [10, 13]
    assert tiny.spec["anchors"][0] == [10, 13, 16, 30]


def test_fusing_changes_outputs_by_less_than_a_ten_thousandth_of_a_pixel(tiny):
    wakened(tiny).eval()
    with torch.no_grad():
        before = tiny.decode(tiny(images(64)))
        same = tiny.fuse()
        after = same.decode(same(images(64)))
    assert same is tiny
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tiny.modules())
    tiny.fuse()


def test_decoding_follows_the_formula_in_every_cell():
    raw = torch.randn(2, 3, 4, 5, 7, generator=torch.Generator().manual_seed(1)).double()
    anchors = torch.tensor([[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]])
    decoded = decode_level(raw, anchors, 8)
    assert decoded.shape == (2, 3 * 4 * 5, 7)
    p = raw.sigmoid()
    for a, j, i in [(0, 0, 0), (1, 2, 4), (2, 3, 1)]:
        row = decoded[1, a * 20 + j * 5 + i]
        tx, ty, tw, th = p[1, a, j, i, :4]
        expected = [
            (2 * tx - 0.5 + i) * 8,
            (2 * ty - 0.5 + j) * 8,
            (2 * tw) ** 2 * anchors[a, 0],
            (2 * th) ** 2 * anchors[a, 1],
        ]
        assert row[:4].tolist() == pytest.approx([float(value) for value in expected])
        assert torch.equal(row[4:], p[1, a, j, i, 4:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_decoded_in_float32(dtype):
    raw = torch.zeros(1, 1, 1, 100, 6, dtype=dtype)
    decoded = decode_level(raw, torch.ones(1, 2), 32)
    assert decoded.dtype == torch.float32
    assert decoded[0, -1, 0] == (99 + 0.5) * 32


def test_anchors_are_kept_in_grid_units_and_shown_in_pixels(tiny):
    assert tiny.anchors[1].tolist() == [[30 / 8, 61 / 8], [62 / 8, 45 / 8]]
    assert tiny.anchors_px[1].tolist() == [[30, 61], [62, 45]]
    tiny.set_anchors_px(tiny.anchors_px * 2)
    assert tiny.spec["anchors"] == [[20, 26, 32, 60], [60, 122, 124, 90]]
    assert tiny.state_dict()["model.8.anchors"][0, 0].tolist() == [20 / 4, 26 / 4]


def test_levels_of_anchors_written_from_large_to_small_are_put_in_order(tiny_spec):
    tiny_spec["anchors"].reverse()
    assert build_detector(tiny_spec, {0: "x"}).anchors_px[0].tolist() == [[10, 13], [16, 30]]


def test_a_number_of_anchors_is_a_placeholder_until_anchors_are_set(tiny_spec):
    detector = build_detector({**tiny_spec, "anchors": 3}, {0: "x"})
    assert detector.anchors_are_placeholder
    assert detector.anchors_px.tolist() == [[[0, 1], [2, 3], [4, 5]]] * 2
    detector.set_anchors_px(torch.arange(1, 13).reshape(2, 3, 2))
    assert not detector.anchors_are_placeholder


@pytest.mark.parametrize("wrong", [torch.ones(2, 3, 2), torch.zeros(2, 2, 2), torch.full((2, 2, 2), float("nan"))])
def test_wrong_anchors_are_refused(tiny, wrong):
    with pytest.raises(ConfigError, match="anchors"):
        tiny.set_anchors_px(wrong)
    assert tiny.anchors_px[0, 0].tolist() == [10, 13]


@pytest.mark.parametrize("names", [{}, {1: "a"}, {0: "a", 2: "b"}])
def test_class_names_are_numbered_without_gaps(tiny_spec, names):
    with pytest.raises(ConfigError, match="numbered from 0"):
        build_detector(tiny_spec, names)


def test_a_residual_needs_equal_channels():
    assert (
        Bottleneck(8, 8).residual and not Bottleneck(8, 16).residual and not Bottleneck(8, 8, shortcut=False).residual
    )


def test_a_dilated_convolution_keeps_the_size():
    assert Conv(3, 4, 3, d=2)(torch.zeros(2, 3, 9, 9)).shape == (2, 4, 9, 9)


def test_focus_stacks_pixel_phases_column_by_column():
    focus = Focus(1, 4)
    focus.conv = nn.Identity()
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert focus(image)[0, :, 0, 0].tolist() == [0, 4, 1, 5]
