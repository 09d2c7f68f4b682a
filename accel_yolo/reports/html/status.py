"""Where a run stands: finished, running or interrupted, and what it has reached."""

from __future__ import annotations

import time
from dataclasses import dataclass

from accel_yolo.metrics.fitness import fitness_of
from accel_yolo.reports.html.history import real
from accel_yolo.reports.html.run import Run
from accel_yolo.reports.html.wording import duration

FINISHED, RUNNING, INTERRUPTED = "finished", "running", "interrupted"
LEAST_SILENCE_S = 120.0
"""A run that has not written for so long, and for longer than it usually does, is taken as interrupted."""
SILENCE_OF_INTERVALS = 5

MAP50, MAP50_95 = "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"


@dataclass(frozen=True)
class Status:
    """Where a run stands.

    Attributes:
        state: finished, running or interrupted.
        detail: what makes that so, a sentence; "" when there is nothing to say.
        epochs: done.
        planned: epochs that were asked for; None where that is not known.
        best_epoch: counted from 0; None before the first validation.
    """

    state: str
    detail: str
    epochs: int
    planned: int | None
    best_epoch: int | None


def status_of(run: Run, now_s: float | None = None) -> Status:
    """Return where a run stands at a time, s since 1970; now when None."""
    planned = run.settings.content.whole("epochs") if run.settings.content else None
    epochs = len(run.rows)
    best = best_epoch(run)
    if not run.is_training:
        there = run.metrics.content is not None
        return Status(FINISHED if there else INTERRUPTED, "" if there else run.metrics.problem, 0, None, None)
    if _has_ended(run):
        early = f"Stopped after {epochs} of {planned} epochs: no more improvement."
        is_early = planned is not None and 0 < epochs < planned
        return Status(FINISHED, early if is_early else "", epochs, planned, best)
    if run.failure.content is not None and run.failure.content.message:
        return Status(INTERRUPTED, f"It ended with: {run.failure.content.message}", epochs, planned, best)
    silent_s = max(0.0, (time.time() if now_s is None else now_s) - run.newest_s)
    if silent_s > _usual_silence_s(run):
        return Status(INTERRUPTED, f"Nothing was written for {duration(silent_s)}.", epochs, planned, best)
    return Status(RUNNING, f"Last sign of life {duration(silent_s)} ago.", epochs, planned, best)


def best_epoch(run: Run) -> int | None:
    """Return the epoch (from 0) whose weights are `best`, as the run chose it."""
    if run.history.content is not None and run.history.content.end is not None:
        said = real(run.history.content.end, "best_epoch")
        if said is not None:
            return int(said)
    best, fitness = None, -1.0
    for row in run.rows:
        map50, map50_95, epoch = row.get(MAP50), row.get(MAP50_95), row.get("epoch")
        if map50 is None or map50_95 is None or epoch is None:
            continue
        if fitness_of(map50, map50_95) > fitness:
            best, fitness = int(epoch), fitness_of(map50, map50_95)
    return best


def _has_ended(run: Run) -> bool:
    """Return whether a training came to its end; the final evaluation of an older version is its only sign."""
    if run.history.content is not None:
        return run.history.content.end is not None
    return run.metrics.content is not None


def _usual_silence_s(run: Run) -> float:
    times = run.history.content.times if run.history.content is not None else []
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    return max([LEAST_SILENCE_S, *(SILENCE_OF_INTERVALS * gap for gap in gaps[-50:])])
