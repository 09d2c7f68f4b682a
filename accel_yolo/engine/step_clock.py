"""Where the time of steps goes: marks between their parts, read when all steps are done."""

from __future__ import annotations

import time
from typing import Any

import torch

BEGIN = "begin"
PARTS: tuple[str, ...] = ("data", "forward", "backward", "update")


class StepClock:
    """Marks between the parts of steps. On CUDA they are events on the device: nobody waits while steps are taken."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[tuple[str, Any]] = []

    def mark(self, part: str) -> None:
        """Say that a part ends here; `BEGIN` says that what came before is not counted."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((part, event))
            return
        if self._device.type != "cpu":
            torch.accelerator.synchronize()
        self._marks.append((part, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Return the seconds of every part since the last call."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        total: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        for (_, before), (part, after) in zip(self._marks, self._marks[1:], strict=False):
            if part != BEGIN:
                total[part] += before.elapsed_time(after) / 1e3 if self._device.type == "cuda" else after - before
        self._marks.clear()
        return total
