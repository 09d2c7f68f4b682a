"""Exponential moving average of the weights, on every process: the same inputs, the same result."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from accel_yolo import waypoints
from accel_yolo.models.detector import Detector


def ema_decay(updates: int, decay: float, tau: float) -> float:
    """Return the decay after `updates` updates: ramps from 0 to `decay` with time constant `tau`."""
    return decay * (1 - math.exp(-updates / tau))


class Ema:
    """A copy of the detector that follows the training weights, running statistics and anchors included."""

    def __init__(self, detector: Detector, decay: float, tau: float) -> None:
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.decay, self.tau, self.updates = decay, tau, 0
        self._pairs: _Pairs | None = None  # not yet: BatchNorm layers may still be replaced by others

    @torch.no_grad()
    def update(self, detector: Detector, *, applied: bool | Tensor = True) -> None:
        """Take one step towards `detector`, if the optimizer took one; integer entries (batch counters) stay.

        A skipped update leaves the weights, but the forward pass that led to it may have left NaN in running
        statistics, where they would stay for ever: those are taken from the average.

        Args:
            detector: what is trained.
            applied: whether the optimizer took a step; bool [] on the device where only the device knows. It then
                counts in `updates` until `discount` puts that right.
        """
        waypoints.reach("average")
        if self._pairs is None or not self._pairs.follows(detector):
            self._pairs = _Pairs(self.detector, detector)
        pairs = self._pairs
        if applied is False:
            pairs.replace_non_finite()
            return
        self.updates += 1
        weight = 1 - ema_decay(self.updates, self.decay, self.tau)
        mine, theirs = pairs.tensors()
        if applied is True:
            torch._foreach_lerp_(mine, theirs, weight)  # pyright: ignore[reportPrivateImportUsage]
            return
        # The same on the device without asking it: a weight of 0 after a skipped update.
        pairs.replace_non_finite(unless=applied)
        steps = torch._foreach_sub(theirs, mine)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_mul_(steps, applied * weight)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_add_(mine, steps)  # pyright: ignore[reportPrivateImportUsage]

    def discount(self, skipped: int) -> None:
        """Take back updates that were counted although the device had skipped them."""
        self.updates -= skipped


class _Pairs:
    """The floating entries of average and detector, two by two.

    A state dict built anew at every update costs more than the update itself. Kept are the places of the entries in
    their modules, not the tensors: a module may be moved or get new tensors. Modules must stay the same.
    """

    def __init__(self, average: Detector, detector: Detector) -> None:
        self._detector = detector
        names = [name for name, value in average.state_dict().items() if value.is_floating_point()]
        self._mine, self._theirs = _places(average, names), _places(detector, names)
        self._buffers = [place for place, (_, is_buffer) in enumerate(_owners(average, names)) if is_buffer]

    def follows(self, detector: Detector) -> bool:
        """Return whether `detector` is the one of these pairs."""
        return self._detector is detector

    def tensors(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the entries of the average and those of the detector."""
        return [owner[name] for owner, name in self._mine], [owner[name] for owner, name in self._theirs]

    def replace_non_finite(self, unless: Tensor | None = None) -> None:
        """Put the numbers of the average where a buffer of the detector is not finite.

        Args:
            unless: bool [] on the device: nothing is changed where it is true.
        """
        mine, theirs = ([tensors[place] for place in self._buffers] for tensors in self.tensors())
        seen = torch.cat([tensor.reshape(-1) for tensor in theirs])
        good = torch.cat([tensor.reshape(-1) for tensor in mine])
        kept = seen.isfinite() if unless is None else seen.isfinite() | unless
        pieces = torch.where(kept, seen, good).split([tensor.numel() for tensor in theirs])
        values = [piece.view_as(tensor) for piece, tensor in zip(pieces, theirs, strict=True)]
        torch._foreach_copy_(theirs, values)  # pyright: ignore[reportPrivateImportUsage]


Entries = dict[str, Tensor]


def _owners(detector: Detector, names: list[str]) -> list[tuple[Entries, bool]]:
    """Return for each name the dictionary that holds the entry, and whether it is one of buffers."""
    found = []
    for name in names:
        module = detector.get_submodule(name.rpartition(".")[0])
        is_buffer = name.rpartition(".")[2] in module._buffers
        found.append((module._buffers if is_buffer else module._parameters, is_buffer))
    return found


def _places(detector: Detector, names: list[str]) -> list[tuple[Entries, str]]:
    owners = _owners(detector, names)
    return [(owner, name.rpartition(".")[2]) for name, (owner, _) in zip(names, owners, strict=True)]
