"""The device a prediction runs on."""

from __future__ import annotations

import pytest
import torch

from accel_yolo.devices import autocast_dtype, named_device
from accel_yolo.errors import ConfigError


@pytest.mark.parametrize(("text", "expected"), [("cpu", "cpu"), (" CPU ", "cpu"), ("", "cpu")])
def test_without_a_gpu_the_cpu_is_chosen(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert named_device(text) == torch.device(expected)


def test_gpus_are_chosen_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [named_device(text) for text in ("", "0", "1", "cuda:1")] == [
        torch.device(name) for name in ("cuda:0", "cuda:0", "cuda:1", "cuda:1")
    ]
    with pytest.raises(ConfigError, match="2 found"):
        named_device("2")


@pytest.mark.parametrize(("text", "says"), [("0,1", "one device"), ("gpu", "cpu, mps or the number")])
def test_what_is_not_one_device_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        named_device(text)


def test_predictions_are_float32_unless_asked_otherwise() -> None:
    cpu = torch.device("cpu")
    assert [autocast_dtype(name, cpu) for name in ("auto", "fp32", "bf16")] == [None, None, torch.bfloat16]
    with pytest.raises(ConfigError, match="fp16"):
        autocast_dtype("fp16", cpu)
