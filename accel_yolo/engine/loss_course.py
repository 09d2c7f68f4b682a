"""The course of the loss: a finite loss out of all proportion is worth a warning, and no more."""

from __future__ import annotations

import math
import statistics
from collections import deque

EXPLODED = 100.0
"""A loss of so many times the median of the readings before it is told."""

_LEAST_READINGS = 5


class LossCourse:
    """Readings of the loss over a run.

    Attributes:
        readings: mean loss per step of each of the last readings.
        has_named_a_number: what was not finite has been named since the start: see `NumberWatch`.
    """

    def __init__(self) -> None:
        self.readings: deque[float] = deque(maxlen=100)
        self.has_named_a_number = False
        self._summed, self._steps = 0.0, 0
        self._told_in: int | None = None

    def take(self, mean: float, steps: int, epoch: int) -> str:
        """Take a reading in and return what there is to say of it, "" for nothing; once an epoch at most.

        Args:
            mean: of the loss over the steps of the epoch up to now.
            steps: how many.
            epoch: which one.
        """
        if steps <= self._steps:
            self._summed, self._steps = 0.0, 0  # another epoch has begun
        summed = mean * steps
        loss, count = (summed - self._summed) / (steps - self._steps), steps - self._steps
        if not math.isfinite(loss):
            return ""
        self._summed, self._steps = summed, steps
        usual = statistics.median(self.readings) if len(self.readings) >= _LEAST_READINGS else math.inf
        self.readings.append(loss)
        if loss <= EXPLODED * usual or self._told_in == epoch:
            return ""
        self._told_in = epoch
        over = f"the last {count} steps" if count > 1 else "the last step"
        return (
            f"the loss of {over} is {loss:.4g}, {loss / usual:.0f} times its usual {usual:.4g}: the training may be "
            "falling apart; with a lower lr0 it may not"
        )
