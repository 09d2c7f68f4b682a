"""The step of the training loop, taken apart to be timed: with and without data, with and without exchange."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.loader import TrainLoader
from accel_yolo.data.packed import ChosenImages
from accel_yolo.data.subsets import some_images
from accel_yolo.engine.batches import Batches, DeviceBatch, batch_loss
from accel_yolo.engine.build import Data, Training, build_training
from accel_yolo.engine.image_cache import opened_caches
from accel_yolo.engine.loaders import build_loaders
from accel_yolo.engine.schedule import Schedule
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.step_clock import BEGIN, StepClock
from accel_yolo.engine.world import World
from accel_yolo.reports.scaling import StepTimes
from accel_yolo.reports.step_parts import StepParts

MOST_ROUNDS = 6
"""Rounds in which the kinds of steps take turns: what else runs on the machine changes with time."""

UNTIMED_STEPS = 2
"""Steps that are not timed: of each kind at first, for what happens once; one of them in each round of a loop."""


class Stepper:
    """A training that takes steps on demand; nothing is learned, because its learning rate is next to zero."""

    def __init__(self, config: TrainConfig, data: Data, world: World, steps: int, most_val_images: int) -> None:
        """Build the training.

        Args:
            config: the training; every step is an update.
            data: its data.
            world: all processes take part in everything.
            steps: timed steps of each kind.
            most_val_images: images of the validation split that are evaluated, at most.
        """
        self.rounds = min(MOST_ROUNDS, steps)
        self.steps_each = -(-steps // self.rounds)
        self.world = world
        self.training: Training = build_training(config, data, None, world)
        # Small data sets are repeated, so that a loop need not begin anew, with empty queues, after a few steps.
        times = -(-(self.steps_each + 2 * UNTIMED_STEPS) * config.batch // len(data.train))
        numbers = {
            "train": np.tile(np.arange(len(data.train)), times),
            "val": np.arange(min(most_val_images, len(data.val))),
        }
        indices = {"train": data.train, "val": data.val}
        stepped = replace(data, **{split: some_images(index, numbers[split]) for split, index in indices.items()})
        loads = opened_caches(self.training.config, indices, world)
        loads = {split: ChosenImages(load, numbers[split]) for split, load in loads.items()}
        self.images, self._data, self._loads = len(data.train), stepped, loads
        loader, self.val_loader = build_loaders(self.training.config, stepped, self.training, world, loads)
        self.schedule = Schedule(self.training.config, loader.steps_per_epoch)
        self.batches = Batches(loader, self.training.detector, self.schedule, world)
        first = next(self.batches.steps(TrainState()))
        # Copied, because workers write the next batches over the images.
        self.ready = replace(first, parts=[replace(part, images=part.images.clone()) for part in first.parts])
        self._parts: list[StepParts] = []

    def step(self, batch: DeviceBatch, *, exchange: bool, clock: StepClock | None = None) -> None:
        """Take one step as the training loop does, exchange of gradients and statistics included or left out.

        Args:
            batch: what to work on.
            exchange: exchange what processes exchange.
            clock: gets a mark at the end of every part.
        """
        training, world = self.training, self.world
        mark = clock.mark if clock else _not_timed
        self.schedule.at(0).apply_to(training.optimizer)
        for part in training.gradient.micro_batches(batch, exchange=exchange):
            sums = training.model(part.images, part.entries, batch.size_hw, part.gains)
            loss = batch_loss(sums, batch, training.loss)
            mark("forward")
            training.gradient.backward(loss, sums)
            mark("backward")
        norm = world.clip(training.model, training.config.max_grad_norm)
        applied = world.apply(training.optimizer, norm)
        training.optimizer.zero_grad()
        if exchange:
            training.gradient.settle_statistics(batch.local_images)
        training.ema.update(training.detector, applied=applied)
        mark("update")

    def times(self) -> StepTimes:
        """Return the times of all kinds of steps, measured in turns."""
        kinds: dict[str, Callable[[], list[float]]] = {
            "loop": partial(self._loop, exchange=True),
            "apart": partial(self._loop, exchange=False),
            "ready": self._steps_on_ready_batch,
        }
        for _ in range(UNTIMED_STEPS):
            self.step(self.ready, exchange=True)
            self.step(self.ready, exchange=False)
        taken_s: dict[str, list[list[float]]] = {name: [] for name in kinds}
        names = list(kinds)
        for number in range(self.rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                taken_s[name].append(kinds[name]())
        loops = [np.median(of_slowest(self.world, taken_s[name]), 0).tolist() for name in ("loop", "apart")]
        (full_s, data_s), (apart_s, apart_data_s) = loops
        pairs = of_slowest(self.world, np.reshape(taken_s["ready"], (-1, 2)))
        return StepTimes(full_s, data_s, apart_s, apart_data_s, *difference(pairs))

    def _loop(self, *, exchange: bool) -> list[float]:
        """Return the mean seconds of a step of the loop, and those of them that went into getting the batch."""
        steps, clock = self.batches.steps(TrainState()), StepClock(self.world.device)
        self.step(next(steps), exchange=exchange)
        started, getting_s, waited_s = self.now_together(), 0.0, 0.0
        clock.mark(BEGIN)
        for _ in range(self.steps_each):
            asked = time.perf_counter()
            batch = next(steps)
            getting_s += time.perf_counter() - asked
            waited_s += batch.waited_s
            clock.mark("data")
            self.step(batch, exchange=exchange, clock=clock)
        seconds, count = (self.now() - started) / self.steps_each, self.steps_each
        if exchange:
            parts_s = {name: value / count for name, value in clock.seconds().items()}
            self._parts.append(StepParts.of(seconds, waited_s / count, parts_s))
        return [seconds, getting_s / count]

    def parts(self) -> StepParts:
        """Return where a step of the loop goes: the mean over the rounds of `times` and over all processes."""
        mine = np.array([[*parts.to_json().values()] for parts in self._parts])
        return StepParts(*self.world.gather_rows(mine).mean(0).tolist())

    def loader_here(self) -> TrainLoader:
        """Return the loader of the same batches that makes them in this process; all processes take part."""
        config = replace(self.training.config, workers=0)
        return build_loaders(config, self._data, self.training, self.world, self._loads)[0]

    def _steps_on_ready_batch(self) -> list[float]:
        """Return the seconds of steps on a batch that is on the device: pairs with exchange and without, in turns."""
        seconds: list[float] = []
        for number in range(self.steps_each):
            pair = {}
            for exchange in (True, False) if number % 2 else (False, True):
                started = self.now_together()
                self.step(self.ready, exchange=exchange)
                pair[exchange] = self.now() - started
            seconds += [pair[True], pair[False]]
        return seconds

    def now(self) -> float:
        """Return the time when the device has done what it was asked to do."""
        if self.world.device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter()

    def now_together(self) -> float:
        """Return the time at which all processes are here and their devices idle."""
        self.now()
        self.world.barrier()
        return time.perf_counter()


def _not_timed(_part: str) -> None:
    pass


def of_slowest(world: World, times: ArrayLike) -> np.ndarray:
    """Return times of this process, any shape, each replaced by its largest value over all processes."""
    mine = np.asarray(times, dtype=np.float64)
    return world.gather_rows(mine.reshape(1, -1)).max(0).reshape(mine.shape)


def difference(pairs: np.ndarray) -> tuple[float, float, float]:
    """Return the median of the first of each pair, that less the median difference, and the scatter of the difference.

    Neighbours in time are compared with each other, so that a machine that slows down for a while changes little.

    Args:
        pairs: [n, 2] seconds.
    """
    apart = pairs[:, 0] - pairs[:, 1]
    middle, first = float(np.median(apart)), float(np.median(pairs[:, 0]))
    # Standard error of a median, from the median absolute deviation, for normal errors.
    scatter = 1.2533 * 1.4826 * float(np.median(np.abs(apart - middle))) / math.sqrt(len(pairs))
    return first, first - middle, scatter
