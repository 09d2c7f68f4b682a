"""Parameter groups, weight averaging, and optimizer state by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.ema import Ema, ema_decay
from accel_yolo.engine.optim import build_optimizer, optimizer_tensors, parameter_groups, restore_optimizer
from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import build_detector, model_spec


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
