"""What a batch that memory decides is computed from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.autobatch import SHARE, Measured, tried
from accel_yolo.engine.batchnorm import GroupedBatchNorm2d
from accel_yolo.engine.build import loss_options
from accel_yolo.engine.memory import Peak
from accel_yolo.engine.probe import OBJECTS, Probe, made_up_targets
from accel_yolo.models.detector import Detector
from accel_yolo.models.zoo import build_detector, model_spec

MB = 1 << 20
LINE = Measured((1, 2, 4), (110, 120, 140))
"""A hundred, and ten for each image."""


@pytest.mark.parametrize(
    ("room", "part", "expected"),
    [
        (200, 1, 10),
        (209, 1, 10),
        (200, 4, 8),
        (141, 1, 4),
        (139, 1, 3),  # four were measured to be too many
        (125, 1, 2),
        (111, 1, 1),
        (109, 1, 0),
    ],
)
def test_a_straight_line_says_how_many_images_fit(room: int, part: int, expected: int) -> None:
    assert LINE.fitting(room, part) == expected


def test_where_memory_ran_out_a_share_of_what_was_had_is_taken_whatever_the_system_said() -> None:
    failed = Measured((1, 2, 4, 8), (110, 120, 140, 180), failed=16)
    assert pytest.approx(144) == SHARE * 180
    assert failed.fitting(10_000, 1) == 4
    assert Measured((1,), (100,), failed=2).fitting(10_000, 1) == 1
    assert Measured((), (), failed=1).fitting(10_000, 1) == 0


def test_measurements_that_do_not_grow_are_taken_as_they_are() -> None:
    assert Measured((2, 4, 8), (150, 150, 140)).fitting(200, 2) >= 8
    assert Measured((4,), (100,)).fitting(200, 4) == 4


def peaks() -> list[int]:
    peak = Peak(torch.device("cpu"))

    def work() -> None:
        for _ in range(3):  # one after the other, not all at once
            torch.ones(50 * MB, dtype=torch.uint8)

    return [peak.of(work), peak.of(lambda: torch.ones(120 * MB, dtype=torch.uint8))]


def test_the_peak_of_some_work_is_what_it_held_at_once(run_processes: Callable[..., list[Any]]) -> None:
    # In a process of its own: one that has done much has memory at hand that it need not ask for.
    ((smaller, larger),) = run_processes(1, peaks)
    assert 45 * MB < smaller < 90 * MB
    assert larger > 110 * MB


def state_of(detector: Detector) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in detector.state_dict().items()}


@pytest.fixture
def probe_of() -> Callable[..., tuple[Detector, Probe]]:
    """Return a function from settings to a detector and its probe."""

    def make(**settings: Any) -> tuple[Detector, Probe]:
        config = TrainConfig(weights="", cfg="yolov5n.yaml", imgsz=64, **settings)
        detector = build_detector(model_spec("yolov5n"), {0: "a", 1: "b", 2: "c"})
        return detector, Probe(detector, config, loss_options(config, detector), torch.device("cpu"), "fp32")

    return make


@pytest.mark.parametrize(
    "settings", [{}, {"bn_group": 2}, {"quad": True}, {"multi_scale": True}, {"hyp": Hyp(fl_gamma=1.5)}]
)
def test_a_step_is_measured_and_leaves_weights_statistics_and_gradients_as_they_were(
    probe_of: Callable, settings: dict[str, Any]
) -> None:
    detector, probe = probe_of(**settings)
    before = state_of(detector)
    grown = probe.peak_of(2, Peak(torch.device("cpu")))
    assert grown is not None
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert all(parameter.grad is None for parameter in detector.parameters())
    grouped = [layer for layer in detector.modules() if isinstance(layer, GroupedBatchNorm2d)]
    assert bool(grouped) == ("bn_group" in settings) and not any(layer._seen for layer in grouped)


def test_a_step_computes_a_loss_with_objects_in_it(probe_of: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, probe = probe_of()
    seen: list[torch.Tensor] = []
    head = detector.head.m[0].weight
    head.register_hook(seen.append)
    probe.peak_of(1, Peak(torch.device("cpu")))
    box_rows = seen[0].view(3, -1, *seen[0].shape[1:])[:, :4]
    assert bool(box_rows.abs().sum() > 0), "no object was matched: the loss would lack most of its memory"


def test_made_up_objects_lie_in_their_images() -> None:
    import numpy as np

    targets = made_up_targets(np.random.default_rng(0), 5, 3)
    assert targets.shape == (5 * OBJECTS, 6) and targets.dtype == np.float32
    assert np.bincount(targets[:, 0].astype(int)).tolist() == [OBJECTS] * 5
    assert set(targets[:, 1]) == {0, 1, 2}
    assert (targets[:, 2:4] - targets[:, 4:] / 2 >= -1e-6).all()
    assert (targets[:, 2:4] + targets[:, 4:] / 2 <= 1 + 1e-6).all()


def test_what_training_keeps_beside_a_step_is_counted(probe_of: Callable) -> None:
    detector, sgd = probe_of()
    parameters = 4 * sum(parameter.numel() for parameter in detector.parameters())
    buffers = sum(value.numel() * value.element_size() for value in detector.buffers())
    assert sgd.gradient_bytes == parameters
    assert sgd.kept_bytes == 3 * parameters + buffers, "momentum, average, and what DDP arranges"
    assert probe_of(optimizer="AdamW")[1].kept_bytes == 4 * parameters + buffers


@pytest.mark.parametrize(
    ("settings", "images", "processes", "on_cpu", "expected"),
    [
        ({}, 5000, 1, False, (1, 1024, [1, 2, 4, 8, 16])),
        ({}, 100, 3, False, (1, 33, [1, 2, 4, 8, 16])),
        ({}, 5000, 2, True, (1, 32, [1, 2, 4, 8, 16])),
        ({"nominal_batch": 7}, 5000, 1, True, (1, 7, [1, 2, 4])),
        ({"quad": True}, 5000, 1, True, (4, 64, [4, 8, 16, 32, 64])),
        ({"quad": True, "bn_group": 12}, 5000, 1, True, (12, 60, [12, 24, 48])),
        ({"bn_group": 3}, 26, 2, True, (3, 12, [3, 6, 12])),
        ({"micro_batch": 8}, 5000, 1, True, (8, 64, [8])),
        ({}, 2, 5, True, (1, 1, [1])),
    ],
)
def test_what_is_tried_and_the_most_follow_from_other_settings_the_data_and_the_device(
    settings: dict[str, Any], images: int, processes: int, on_cpu: bool, expected: tuple
) -> None:
    config = TrainConfig(batch=AUTO_BATCH, **settings)
    assert tried(config, images, processes, on_cpu=on_cpu) == expected
