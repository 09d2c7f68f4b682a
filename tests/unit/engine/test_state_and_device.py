"""Plain state, and what the environment of a launcher means."""

from __future__ import annotations

import json
import math

import pytest
import torch

from accel_yolo.engine.device import choose_device, choose_precision
from accel_yolo.engine.skips import Skips
from accel_yolo.engine.state import TrainState
from accel_yolo.errors import CheckpointError, ConfigError


def test_state_survives_json() -> None:
    state = TrainState(epoch=3, step=24, best=0.5, losses=(0.1, 0.2, 0.3))
    assert TrainState.from_json(state.to_json()) == state


def test_state_of_a_checkpoint_without_average_precision_has_none() -> None:
    plain = TrainState(epoch=2).weighing((0.25, 0.5)).to_json()
    assert TrainState.from_json(json.loads(json.dumps(plain))).class_ap == (0.25, 0.5)
    del plain["class_ap"]
    assert TrainState.from_json(plain) == TrainState(epoch=2)


def test_patience_counts_epochs_since_the_best() -> None:
    state, values = TrainState(), [0.1, 0.5, 0.4, 0.5, 0.3]
    stopped = []
    for value in values:
        state = state.after_epoch(value, patience=3)
        stopped.append(state.stopped)
    assert state.best == 0.5 and state.best_epoch == 1, "a tie does not replace the earlier epoch"
    assert stopped == [False, False, False, False, True]


def test_patience_of_zero_never_stops() -> None:
    state = TrainState()
    for _ in range(300):
        state = state.after_epoch(0.1, patience=0)
    assert not state.stopped


@pytest.mark.parametrize(("patience", "stopped"), [(0, False), (2, True), (3, True), (4, False)])
def test_a_run_out_of_patience_has_some_again_when_it_is_given_more(patience: int, stopped: bool) -> None:
    state = TrainState()
    for value in (0.1, 0.5, 0.4, 0.5, 0.3):
        state = state.after_epoch(value, patience=3)
    assert state.stopped and state.waiting(patience).stopped == stopped
    assert not TrainState(epoch=9).waiting(patience).stopped, "whether it runs out is asked after a validation"


def test_a_state_of_a_newer_version_is_named() -> None:
    plain = {**TrainState().to_json(), "weather": "fine", "mood": 3}
    with pytest.raises(CheckpointError, match="written by a newer version: mood, weather; update accel_yolo"):
        TrainState.from_json(plain)


def test_a_metric_that_is_not_a_number_is_never_the_best() -> None:
    state = TrainState().after_epoch(0.2, 0).after_epoch(math.nan, 0)
    assert state.best == 0.2 and not state.is_best


def test_a_skipped_update_counts_as_skipped() -> None:
    state = TrainState().after_step(16, True, True).after_step(16, True, False).after_step(16, False, False)
    assert (state.step, state.images, state.updates, state.skips, state.skips_in_a_row) == (3, 48, 1, 1, 1)


def test_updates_that_only_the_device_knew_to_be_skipped_are_put_right_when_it_is_read() -> None:
    on_host = on_device = TrainState()
    skips = Skips(torch.device("cpu"))
    for finite in (True, False, True, False, False):
        on_host = on_host.after_step(16, True, finite)
        on_device = on_device.after_step(16, True, torch.tensor(finite))
        skips.count(torch.tensor(finite))
    assert on_device.updates == 5 and on_device.skips == 0
    skipped, in_a_row = (int(number) for number in skips.numbers.tolist())
    assert on_device.corrected(skipped, in_a_row) == on_host
    skips.forget()
    skips.count(torch.tensor(False))
    assert skips.numbers.tolist() == [1, 3], "those in a row go on after the device was read"


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MASTER_ADDR", "ACCELERATE_USE_CPU", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match=r"--device: 5; CUDA_VISIBLE_DEVICES= leaves 0"):
        choose_device("5")


def test_fp16_on_a_cpu_is_refused_because_it_would_silently_be_fp32() -> None:
    with pytest.raises(ConfigError, match="fp16 does not work on a CPU"):
        choose_precision("fp16", on_cpu=True)


def test_two_precisions_that_disagree_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert choose_precision("auto", on_cpu=True) == "bf16"
    assert choose_precision("bf16", on_cpu=True) == "bf16"
    with pytest.raises(ConfigError, match="fp32 and bf16"):
        choose_precision("fp32", on_cpu=True)


def test_precision_defaults_to_fp32_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert choose_precision("auto", on_cpu=True) == "fp32"
