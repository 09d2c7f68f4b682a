"""Parameter groups, weight averaging, and optimizer state by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.batchnorm import convert_batchnorm
from accel_yolo.engine.ema import Ema, ema_decay
from accel_yolo.engine.optim import (
    build_optimizer,
    laid_like,
    optimizer_tensors,
    parameter_groups,
    restore_optimizer,
)
from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import build_detector, model_spec


def lies_like(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors of one shape have their elements in the same order in memory."""
    pairs = zip(tensor.shape, tensor.stride(), other.stride(), strict=True)
    return all(mine == theirs for size, mine, theirs in pairs if size > 1)


@pytest.fixture
def detector() -> Detector:
    return build_detector(model_spec("yolov5n"), {number: str(number) for number in range(80)})


def test_parameter_groups_equal_the_recorded_ones(detector: Detector, recorded: Callable[[str], Path]) -> None:
    expected = json.loads(recorded("optimizer.json").read_text())["optimizer_groups"]
    groups = parameter_groups(detector)
    ours = sorted(sorted(name for name, _ in members) for members in groups.values())
    assert ours == sorted(sorted(group["names"]) for group in expected)
    decayed = {name for name, _ in groups["decay"]}
    assert [set(group["names"]) for group in expected if group["weight_decay"]] == [decayed]


def test_sgd_has_nesterov_momentum_and_decays_weights_only(detector: Detector) -> None:
    optimizer = build_optimizer(detector, TrainConfig(batch=64))
    assert all(group["nesterov"] and group["momentum"] == 0.937 for group in optimizer.param_groups)
    assert {g["name"]: g["weight_decay"] for g in optimizer.param_groups} == {"bias": 0, "decay": 5e-4, "norm": 0}


def test_sgd_without_momentum_is_plain(detector: Detector) -> None:
    optimizer = build_optimizer(detector, TrainConfig(batch=64, hyp=Hyp(momentum=0.0)))
    assert not any(group["nesterov"] for group in optimizer.param_groups)


def test_ema_decay_equals_the_recorded_ramp(recorded: Callable[[str], Path]) -> None:
    table = json.loads(recorded("optimizer.json").read_text())["ema_decay"]
    assert table
    for updates, decay in table:
        assert ema_decay(updates, 0.9999, 2000) == pytest.approx(decay, abs=1e-12)


def test_ema_averages_every_floating_entry_and_leaves_counters_alone(detector: Detector) -> None:
    ema = Ema(detector, 0.9999, 2000)
    before = {key: value.clone() for key, value in ema.detector.state_dict().items()}
    with torch.no_grad():
        for value in detector.state_dict().values():
            value += 1
    ema.update(detector)
    weight = 1 - ema_decay(1, 0.9999, 2000)
    for key, value in ema.detector.state_dict().items():
        expected = before[key] + weight if value.is_floating_point() else before[key]
        torch.testing.assert_close(value, expected)


def test_ema_does_not_move_when_the_update_was_skipped(detector: Detector) -> None:
    ema = Ema(detector, 0.9999, 2000)
    with torch.no_grad():
        next(detector.parameters()).add_(1)
    before = ema.detector.state_dict()["model.0.conv.weight"].clone()
    ema.update(detector, applied=False)
    assert ema.updates == 0
    assert torch.equal(before, ema.detector.state_dict()["model.0.conv.weight"])


def test_a_skipped_update_does_not_leave_nan_in_running_statistics(detector: Detector) -> None:
    ema = Ema(detector, 0.9999, 2000)
    statistics = detector.state_dict()["model.0.bn.running_mean"]
    statistics.fill_(float("nan"))
    ema.update(detector, applied=False)
    assert torch.equal(statistics, ema.detector.state_dict()["model.0.bn.running_mean"])


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_optimizer_state_travels_by_parameter_name(detector: Detector, name: str) -> None:
    config = TrainConfig(optimizer=name)
    optimizer = build_optimizer(detector, config)
    for parameter in detector.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    optimizer.step()
    saved = {key: value.clone() for key, value in optimizer_tensors(detector, optimizer).items()}
    assert len(saved) >= len(list(detector.parameters()))

    fresh = build_optimizer(detector, config)
    restore_optimizer(detector, fresh, saved)
    again = optimizer_tensors(detector, fresh)
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[key], saved[key]) for key in saved)


def channels_last(detector: Detector) -> Detector:
    return detector.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def with_gradients(detector: Detector, seed: int) -> None:
    """Give every parameter a gradient, laid out like itself."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in detector.parameters():
        parameter.grad = laid_like(torch.randn(parameter.shape, generator=draw), parameter)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_fused_optimizer_takes_the_steps_of_a_plain_one_and_goes_on_after_a_restart(name: str) -> None:
    # A checkpoint holds its tensors contiguous; the parameters here are channels last.
    plain, fused = (channels_last(build_detector(model_spec("yolov5n"), {0: "item"})) for _ in range(2))
    # The rule of fp16 gives the plain one.
    config = TrainConfig(optimizer=name)
    slow = build_optimizer(plain, TrainConfig(optimizer=name, precision="fp16"))
    fast = build_optimizer(fused, config)
    assert all(group["fused"] for group in fast.param_groups)
    assert not any(group["fused"] for group in slow.param_groups)
    for step in range(4):
        with_gradients(plain, step)
        with_gradients(fused, step)
        slow.step()
        fast.step()
        saved = {key: value.clone().contiguous() for key, value in optimizer_tensors(fused, fast).items()}
        fast = build_optimizer(fused, config)
        restore_optimizer(fused, fast, saved)
    for key, value in fused.state_dict().items():
        torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-4, atol=1e-5)
    for parameter, state in fast.state.items():
        assert all(lies_like(value, parameter) for slot, value in state.items() if slot != "step")


def test_an_average_follows_a_detector_whose_tensors_were_replaced(detector: Detector) -> None:
    ema = Ema(detector, 0.0, 2000)
    loaded = {key: torch.full_like(value, 2) for key, value in detector.state_dict().items()}
    detector.load_state_dict(loaded, assign=True)
    ema.update(detector)
    values = [value for value in ema.detector.state_dict().values() if value.is_floating_point()]
    assert all(bool((value == 2).all()) for value in values)


def test_an_average_follows_the_batchnorm_layers_that_are_trained_in_the_end(detector: Detector) -> None:
    ema = Ema(detector, 0.0, 2000)
    convert_batchnorm(detector, sync=False, group=2, world_size=1)
    statistics = detector.get_submodule("model.0.bn")
    statistics.register_buffer("running_mean", torch.full_like(statistics.running_mean, 3))  # pyright: ignore
    ema.update(detector)
    assert bool((ema.detector.state_dict()["model.0.bn.running_mean"] == 3).all())


@pytest.mark.parametrize("applied", [True, False])
def test_an_average_on_the_device_does_what_the_host_would(detector: Detector, applied: bool) -> None:
    averages = [Ema(detector, 0.9999, 2000) for _ in range(2)]
    trained = [copy.deepcopy(detector) for _ in averages]
    for ema, model, answer in zip(averages, trained, (applied, torch.tensor(applied)), strict=True):
        with torch.no_grad():
            if applied:
                for parameter in model.parameters():
                    parameter += 1
            else:
                model.state_dict()["model.0.bn.running_var"][0] = float("inf")
        ema.update(model, applied=answer)
    for pair in ([ema.detector for ema in averages], trained):
        first, second = (model.state_dict() for model in pair)
        for key, value in first.items():
            torch.testing.assert_close(second[key], value)
    averages[1].discount(0 if applied else 1)
    assert averages[0].updates == averages[1].updates == int(applied)
