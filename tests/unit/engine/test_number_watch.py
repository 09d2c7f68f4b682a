"""What is kept of each step for the day on which a number is not finite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from accel_yolo.engine.nonfinite import NumberWatch
from accel_yolo.engine.own_share import StepNumbers
from accel_yolo.engine.state import TrainState


class SinglePrecision(Tensor):
    """A tensor on a device without double precision."""

    def double(self, *_: Any, **__: Any) -> Tensor:
        raise TypeError("float64 is not there")

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(Tensor)


def test_a_device_needs_no_double_precision_to_be_asked(tmp_path: Path) -> None:
    training: Any = SimpleNamespace(detector=nn.Linear(1, 1))
    watch = NumberWatch(training, SimpleNamespace(), tmp_path, TrainState())  # pyright: ignore
    for step, loss in enumerate((1.0, float("nan"))):
        terms = torch.tensor([1.0, loss, 1.0]).as_subclass(SinglePrecision)
        edges = torch.zeros(2).as_subclass(SinglePrecision)
        watch._recent.append(StepNumbers(step, dict, terms, edges, None))
    sighting = watch._sighting(latest=False)
    assert (sighting.step, sighting.what) == (1, "the objectness loss of {} is nan")
