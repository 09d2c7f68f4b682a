"""The rows that a run is recorded in: a reading on the log interval, an epoch, the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accel_yolo.engine.state import TrainState

COLUMNS = (
    "epoch",
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/precision",
    "metrics/recall",
    "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95",
    "val/box_loss",
    "val/obj_loss",
    "val/cls_loss",
    "x/lr0",
    "x/lr1",
    "x/lr2",
)
"""Columns of `results.csv`, those of the reference."""

_LOSSES, _METRICS, _RATES = COLUMNS[1:4], COLUMNS[4:8], COLUMNS[11:]


@dataclass(frozen=True)
class Pace:
    """How fast a run is, and what it holds.

    Attributes:
        images_per_s: images of all processes; of a reading since the one before, of an epoch on average.
        data_wait: share of the epoch so far that this process spent waiting for data, 0..1.
        process_mib: memory of this process.
        device_mib: the most that was reserved for its tensors on its GPU, what is kept for the next ones included; None
            on a CPU.
    """

    images_per_s: float
    data_wait: float
    process_mib: int
    device_mib: int | None = None

    def recorded(self) -> dict[str, float]:
        """Return it by the names of the record."""
        device = {"memory/device_mib": self.device_mib} if self.device_mib is not None else {}
        speed = {"speed/images_per_s": self.images_per_s, "speed/data_wait": self.data_wait}
        return {**speed, "memory/process_mib": self.process_mib, **device}


@dataclass(frozen=True)
class StepRow:
    """A reading on the log interval.

    Attributes:
        epoch: counted from 0.
        step: steps done over the whole run.
        images: samples seen over the whole run.
        train: (box, objectness, class) training losses, means since the start of the epoch.
        lr: learning rates of (biases, decayed weights, norm weights).
        pace: since the reading before.
        eta_s: seconds that the run will still take, None before that can be told.
    """

    epoch: int
    step: int
    images: int
    train: tuple[float, ...]
    lr: tuple[float, float, float]
    pace: Pace
    eta_s: float | None = None

    def recorded(self) -> dict[str, float]:
        """Return it by the names of the record."""
        left = {"time/eta_s": self.eta_s} if self.eta_s is not None else {}
        place = {"epoch": self.epoch, "step": self.step, "images": self.images}
        return {**place, **_named(_LOSSES, self.train), **_named(_RATES, self.lr), **self.pace.recorded(), **left}


@dataclass(frozen=True)
class EpochRow:
    """One line of the results.

    Attributes:
        epoch: counted from 0.
        train: mean (box, objectness, class) training losses.
        metrics: (precision, recall, mAP50, mAP50-95), None when the epoch was not validated.
        val: (box, objectness, class) validation losses, None likewise.
        lr: learning rates of (biases, decayed weights, norm weights) at the last step.
        seconds: duration of the epoch's training part.
        validate_s: duration of its validation, 0 without one.
        saving_s: duration of the checkpoints since the row before.
        pace: of its training part.
    """

    epoch: int
    train: tuple[float, ...]
    metrics: tuple[float, ...] | None
    val: tuple[float, ...] | None
    lr: tuple[float, float, float]
    seconds: float
    validate_s: float
    saving_s: float
    pace: Pace

    @property
    def values(self) -> tuple[float, ...]:
        """What `COLUMNS` name, NaN where there was no validation."""
        metrics, val = self.metrics or (float("nan"),) * 4, self.val or (float("nan"),) * 3
        return (self.epoch, *self.train, *metrics, *val, *self.lr)

    def recorded(self, state: TrainState) -> dict[str, float]:
        """Return it by the names of the record, with the state after it."""
        done = {"step": state.step, "images": state.images, "updates": state.updates, "skips": state.skips}
        spent = {
            "time/train_s": self.seconds,
            "time/data_wait_s": self.seconds * self.pace.data_wait,
            "time/validate_s": self.validate_s,
            "time/save_s": self.saving_s,
        }
        return {**_named(COLUMNS, self.values), **done, **spent, **self.pace.recorded()}


def recorded_end(state: TrainState, metrics: Mapping[str, Any], seconds: float) -> dict[str, float]:
    """Return how a run ended, by the names of the record.

    Args:
        state: where.
        metrics: the content of `metrics.json`, of its best weights.
        seconds: since this start of the run.
    """
    place = {"epoch": state.epoch - 1, "step": state.step, "images": state.images}
    best = _named(_METRICS, [metrics[name] for name in ("precision", "recall", "map50", "map50_95")])
    return {**place, "seconds": seconds, "best_epoch": state.best_epoch, **best}


def _named(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))
