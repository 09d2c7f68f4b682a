"""Exponential moving average of the weights, on every process: the same inputs, the same result."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from accel_yolo.models.detector import Detector


def ema_decay(updates: int, decay: float, tau: float) -> float:
    """Return the decay after `updates` updates: ramps from 0 to `decay` with time constant `tau`."""
    return decay * (1 - math.exp(-updates / tau))


class Ema:
    """A copy of the detector that follows the training weights, running statistics and anchors included."""

    def __init__(self, detector: Detector, decay: float, tau: float) -> None:
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.decay, self.tau, self.updates = decay, tau, 0

    @torch.no_grad()
    def update(self, detector: Detector, *, applied: bool = True) -> None:
        """Take one step towards `detector`, if the optimizer took one; integer entries (batch counters) stay.

        A skipped update leaves the weights, but the forward pass that led to it may have left NaN in running
        statistics, where they would stay for ever: those are taken from the average.
        """
        if not applied:
            _replace_non_finite(detector, self.detector)
            return
        self.updates += 1
        weight = 1 - ema_decay(self.updates, self.decay, self.tau)
        mine, theirs = _floating(self.detector), _floating(detector)
        torch._foreach_lerp_(mine, theirs, weight)  # pyright: ignore[reportPrivateImportUsage]


def _replace_non_finite(detector: Detector, average: Detector) -> None:
    for buffer, good in zip(detector.buffers(), average.buffers(), strict=True):
        if not bool(buffer.isfinite().all()):
            buffer.copy_(good)


def _floating(detector: Detector) -> list[Tensor]:
    return [value for value in detector.state_dict().values() if value.is_floating_point()]
