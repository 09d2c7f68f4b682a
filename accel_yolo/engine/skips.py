"""Updates that a GPU skips by itself, counted where they happen, so that the host need not ask each time."""

from __future__ import annotations

import torch
from torch import Tensor


class Skips:
    """Which updates the device has skipped.

    Attributes:
        on_device: the device decides. If not, the host does and nothing is counted here.
    """

    def __init__(self, device: torch.device, in_a_row: int = 0, skipped: int = 0, *, by_scaler: bool = False) -> None:
        """Begin to count.

        Args:
            device: that of the run.
            in_a_row: updates skipped in a row up to now.
            skipped: updates skipped that nobody has read yet.
            by_scaler: a loss scaler decides, and tells the host.
        """
        self.on_device = device.type == "cuda" and not by_scaler
        self._device, self._begin = device, (float(skipped), float(in_a_row))
        self._numbers: Tensor | None = None

    @property
    def numbers(self) -> Tensor:
        """[2] float32 on the device: updates skipped since the last `forget`, and those in a row up to now."""
        if self._numbers is None:  # not before there is work: processes are started before the device is
            self._numbers = torch.tensor(self._begin, device=self._device)
        return self._numbers

    def count(self, finite: Tensor) -> None:
        """Take in whether the gradient of an update was finite; bool []."""
        skipped = (~finite).float()
        self.numbers.add_(skipped)
        self.numbers[1].mul_(skipped)

    def forget(self) -> None:
        """Begin to count anew, after the numbers were read; those in a row go on."""
        self.numbers[0].zero_()
