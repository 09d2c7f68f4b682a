"""The pictures of a run, drawn beside it: by a process of the leader that nobody waits for until the very end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.order import steps_per_epoch
from accel_yolo.data.room import usable_cores
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.statistics import sizes_px
from accel_yolo.data.subsets import some_images
from accel_yolo.engine.build import Data
from accel_yolo.engine.draughtsman import Draughtsman
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.engine.loaders import host_samples, plan_source
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.subject import Subject
from accel_yolo.engine.world import World
from accel_yolo.inference.output.batch_sheet import LEAST_CONFIDENCE, MOST
from accel_yolo.inference.output.run_pictures import (
    LABELS,
    OF_VALIDATION,
    SHEETS,
    TRAIN_BATCHES,
    VAL_LABELS,
    clear_pictures,
    draw_labels,
    draw_results,
    draw_train_batches,
    draw_val_labels,
    draw_val_predictions,
)
from accel_yolo.models.detector import Detector

_TENTHS = 10
"""Parts of a run after which pictures are drawn anew, where nothing else is said."""
_SHARE, _FIRST_S = 0.005, 1.0
"""Most that drawing anew may take of the time of all processors; what it takes the first time, s."""


@dataclass
class _Rhythm:
    """When pictures are drawn anew.

    Attributes:
        every: after every so many epochs; 0 never.
        last: the last epoch, after which they are drawn anyway.
        limited: leave them out where drawing anew would take more than `_SHARE` of the processors' time.
    """

    every: int = 0
    last: int = 0
    limited: bool = False
    started: float = field(default_factory=time.perf_counter)
    spent_before_s: float = -1.0
    times: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> _Rhythm:
        chosen = config.bbox_interval >= 0
        return cls(config.bbox_interval if chosen else -(-config.epochs // _TENTHS), config.epochs, limited=not chosen)

    def is_due(self, epochs: int) -> bool:
        return self.every > 0 and epochs % self.every == 0 and epochs < self.last

    def allows(self, spent_s: float) -> bool:
        """Return whether there is time for another drawing, after so many seconds of a processor."""
        if self.spent_before_s < 0:  # all so far was drawn once and for all
            self.spent_before_s = spent_s
        anew_s = spent_s - self.spent_before_s
        next_s = anew_s / self.times if self.times else _FIRST_S
        budget_s = _SHARE * (time.perf_counter() - self.started) * usable_cores()
        if self.limited and anew_s + next_s > budget_s:
            return False
        self.times += 1
        return True


class Gallery:
    """Pictures of a run folder; on the leader, all other processes have none.

    Args:
        folder: of the run.
        index: the validation split.
        names: class number to name.
        is_open: whether there is anything to draw here.
    """

    def __init__(self, folder: Path, index: SplitIndex, names: dict[int, str], *, is_open: bool) -> None:
        self._folder, self._names = folder, names
        self._draughtsman = Draughtsman() if is_open else None
        self._has_asked_labels = False
        self._rhythm, self._has_warned = _Rhythm(), False
        self._shown = shown_images(len(index)) if is_open else []
        self._parts = [some_images(index, images) for images in self._shown]

    @classmethod
    def of_training(cls, folder: Path, config: TrainConfig, data: Data, detector: Detector, world: World) -> Gallery:
        """Return the gallery of a training, what is known before its first step asked for.

        Args:
            folder: of the run. What an interrupted run has drawn stays, because it would be the same.
            config: the run.
            data: its data.
            detector: what is trained.
            world: the leader draws.
        """
        gallery = cls(folder, data.val, data.names, is_open=world.is_leader and not config.noplots)
        gallery._rhythm = _Rhythm.of(config)
        if gallery._draughtsman is None:
            return gallery
        stride = max(32, *detector.strides)
        if not (folder / LABELS).exists():
            title = f"{len(data.train):,} training images, {len(data.train.labels):,} objects at {config.imgsz} px"
            names = [data.names[number] for number in sorted(data.names)]
            sizes = sizes_px(data.train, config.imgsz)
            gallery._draughtsman.ask(draw_labels, folder, title, names, data.train.labels, sizes)
        if not (folder / TRAIN_BATCHES[0]).exists():
            source = plan_source(config, data.train, stride, detector.nc)
            batches = shown_batches(config, steps_per_epoch(len(source), config.batch))
            samples = host_samples(config, data.train, source, detector.nc)
            gallery._draughtsman.ask(draw_train_batches, folder, samples, batches, data.names)
        gallery._ask_labels()
        return gallery

    @classmethod
    def of_validation(cls, folder: Path, config: ValConfig, subject: Subject, world: World) -> Gallery:
        """Return the gallery of a validation; pictures of an earlier one go.

        Nothing is asked for before `conclude`: the evaluation is timed, and nothing is to be drawn beside it.
        """
        gallery = cls(folder, subject.index, subject.names, is_open=world.is_leader and not config.noplots)
        if world.is_leader:
            clear_pictures(folder, OF_VALIDATION)
        return gallery

    def add_epoch(self, state: TrainState, result: Evaluation | None) -> None:
        """Have results and predictions drawn anew if they are due after the epoch that has just ended.

        Where earlier ones are still being drawn, these are left out: drawing never lags behind.
        """
        if self._draughtsman is None or not self._rhythm.is_due(state.epoch):
            return
        if self._draughtsman.is_idle and self._rhythm.allows(self._draughtsman.spent_s):
            self._ask_results(result)
        self._warn()

    def conclude(self, result: Evaluation) -> None:
        """Have the last pictures drawn, from the evaluation that counts; `close` waits for them."""
        self._ask_labels()
        self._ask_results(result)

    def close(self) -> None:
        """Return when all is drawn; the process ends."""
        if self._draughtsman is None:
            return
        started = time.perf_counter()
        self._draughtsman.wait()
        self._warn()
        waited_s, spent_s = time.perf_counter() - started, self._draughtsman.spent_s
        console.log(f"Pictures took {spent_s:.1f} s of a processor; waited {waited_s:.1f} s for the last of them")
        self._draughtsman.close()

    def finished(self) -> list[Path]:
        """Return the pictures drawn since this was last called; never waits."""
        return self._draughtsman.finished() if self._draughtsman is not None else []

    def _ask_labels(self) -> None:
        if self._draughtsman is None or self._has_asked_labels:
            return
        self._has_asked_labels = True
        if not (self._folder / VAL_LABELS[0]).exists():
            self._draughtsman.ask(draw_val_labels, self._folder, self._parts, self._names)

    def _ask_results(self, result: Evaluation | None) -> None:
        if self._draughtsman is None:
            return
        self._draughtsman.ask(draw_results, self._folder)
        if result is not None:
            found = [_renumbered(result.detections, images) for images in self._shown]
            self._draughtsman.ask(draw_val_predictions, self._folder, self._parts, found, self._names)

    def _warn(self) -> None:
        """Say once what could not be drawn; the run goes on."""
        if self._draughtsman is not None and self._draughtsman.failure and not self._has_warned:
            self._has_warned = True
            console.warn(f"not all pictures could be drawn: {self._draughtsman.failure}")


def shown_batches(config: TrainConfig, steps: int) -> list[list[Key]]:
    """Return the keys of the images that are shown of the first batches of a training.

    Global batches: the pictures do not depend on how many processes share them.
    """
    images = config.batch // config.unit
    shown = range(min(images, MOST))
    return [[Key(0, step * images + place) for place in shown] for step in range(min(steps, SHEETS))]


def shown_images(count: int) -> list[np.ndarray]:
    """Return the validation images that are shown, by sheet: all of a small split, else evenly taken.

    Neighbours in a split are often alike, and evaluation batches hold images of one shape only.
    """
    shown = min(count, SHEETS * MOST)
    images = np.arange(shown) * count // max(shown, 1)
    return [images[start : start + MOST] for start in range(0, shown, MOST)]


def _renumbered(detections: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the confident detections of some images, numbered by their places among these."""
    confident = detections[detections[:, 5] > LEAST_CONFIDENCE]  # a few of a hundred: what is left is searched fast
    kept = confident[np.isin(confident[:, 0], images)]
    return np.column_stack((np.searchsorted(images, kept[:, 0]), kept[:, 1:]))
