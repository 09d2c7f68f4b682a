"""How long a run will still take, from what its epochs have taken so far."""

from __future__ import annotations

import time

from accel_yolo.bars import duration
from accel_yolo.engine.schedule import Schedule

_FEW_STEPS = 10
"""Steps of an epoch from which on its own pace counts, and not that of the epoch before."""


class RunClock:
    """Measures steps, and what lies between epochs: validation and checkpoints.

    Attributes:
        schedule: of the run.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._between_s: float | None = None
        self._step_s: float | None = None
        self._started_s = self._ended_s = time.perf_counter()
        self._is_first, self._first_step = True, 0

    def begin_epoch(self, step: int) -> None:
        """Take the start of an epoch, or of the rest of one, after `step` steps of the run."""
        self._started_s, self._first_step = time.perf_counter(), step
        if not self._is_first:
            self._between_s = self._started_s - self._ended_s
        self._is_first = False

    def end_steps(self, step: int) -> None:
        """Take the end of the steps of an epoch, after `step` steps of the run."""
        self._ended_s = time.perf_counter()
        if step > self._first_step:
            self._step_s = (self._ended_s - self._started_s) / (step - self._first_step)

    def left_s(self, step: int) -> float | None:
        """Return the seconds that the run will take after `step` steps; None before anything is known.

        Before the first epoch has ended, its validation is not known and not counted.
        """
        steps = step - self._first_step
        pace_s = self._step_s
        if steps >= _FEW_STEPS:
            pace_s = (time.perf_counter() - self._started_s) / steps
        if pace_s is None:
            return None
        left = self.schedule.left(step)
        validations = 0 if self.schedule.config.noval else -(-left // self.schedule.steps_per_epoch)
        return pace_s * left + validations * (self._between_s or 0.0)

    def words(self, step: int) -> str:
        """Return what is left in words: "ETA 1:02:03"; "" before anything is known."""
        seconds = self.left_s(step)
        if seconds is None:
            return ""
        is_whole = self._between_s is not None or self.schedule.config.noval
        return f"ETA {'' if is_whole else 'over '}{duration(seconds)}"
