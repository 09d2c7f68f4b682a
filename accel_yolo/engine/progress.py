"""What is seen of an epoch while it runs, and its line of results."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.engine.batches import DeviceBatch
from accel_yolo.engine.build import Training
from accel_yolo.engine.divergence import COMPARE_EVERY, require_equal_weights
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.engine.memory import Memory, resident_bytes
from accel_yolo.engine.nonfinite import NumberWatch
from accel_yolo.engine.rows import EpochRow, Pace, StepRow
from accel_yolo.engine.run_clock import RunClock
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.losses.detection import term_means

LOG_EVERY = 10
"""Steps between two reads of the device."""


class EpochMeter:
    """Losses, time and waiting of one epoch."""

    def __init__(self, run: RunFolder, clock: RunClock, state: TrainState, training: Training, world: World) -> None:
        self._run, self._clock, self._epoch, self._world = run, clock, state.epoch, world
        self._schedule, self._first_step = clock.schedule, state.step
        self._training, self._options = training, training.loss
        self._gradient, self._ema = training.gradient, training.ema
        skipped, in_a_row = state.unread or (0, state.skips_in_a_row)
        world.count_skips(in_a_row, skipped)
        self._numbers = NumberWatch(training, world, run.path, state)
        self._terms = torch.tensor(_share(state.terms, training, world), device=world.device)
        self._steps, self._images, self._waited_s, self._started = state.counted, 0, 0.0, time.perf_counter()
        self._last_step, self._seconds = state.step, 0.0
        self._read_at, self._read_images = self._started, state.images
        self._bar = None

    def watch(self, batches: Iterable[DeviceBatch]) -> Iterator[DeviceBatch]:
        """Yield the batches while their progress is shown."""
        per_epoch, epochs = self._schedule.steps_per_epoch, self._schedule.config.epochs
        self._clock.begin_epoch(self._first_step)
        with console.progress(None, per_epoch, f"epoch {self._epoch + 1}/{epochs}", "step") as self._bar:
            self._bar.update(self._schedule.within_epoch(self._first_step))  # an interrupted epoch goes on where it was
            for batch in batches:
                yield batch
                self._bar.update()
        self._clock.end_steps(self._last_step)
        self._seconds = time.perf_counter() - self._started

    def add(self, batch: DeviceBatch, sums: Tensor, state: TrainState) -> TrainState:
        """Take one step in and return its state; the device is read on the log interval only.

        Raises:
            NonFiniteError: no update has had a finite gradient for a long time.
            PeerError: the weights of a process differ from those of the others.
        """
        self._images += batch.samples
        terms = self._terms_of(sums, batch)
        own = self._gradient.own.sums
        own_terms = terms if own is sums else self._terms_of(own, batch)
        is_update = self._schedule.at(state.step - 1).is_update
        self._numbers.take(own_terms, batch.contents, step=state.step - 1, is_update=is_update)
        self._terms += terms
        self._steps, self._last_step = self._steps + 1, state.step
        self._waited_s += batch.waited_s
        due = self._steps % LOG_EVERY == 1
        means: list[float] = []
        if due:
            means, state = self._read(state)
        if due or not self._world.skips.on_device:
            self._numbers.judge(state)
        if due:
            told = self._training.course.take(sum(means), self._steps, self._epoch)
            if told:
                console.warn(f"{told} (epoch {self._epoch + 1}, step {state.step})")
            row = self._step_row(tuple(means), state)
            self._run.add_step(row)
            self._show(row, batch)
        if state.step % COMPARE_EVERY == 0:
            require_equal_weights(self._training, self._world, state.step, settled=is_update)
        return state

    def _terms_of(self, sums: Tensor, batch: DeviceBatch) -> Tensor:
        return term_means(sums.detach(), batch.entry_counts, batch.cell_counts, self._options)

    def _step_row(self, losses: tuple[float, ...], state: TrainState) -> StepRow:
        """Return what the device was just read for, with the pace since the reading before."""
        now = time.perf_counter()
        images_per_s = (state.images - self._read_images) / max(now - self._read_at, 1e-9)
        self._read_at, self._read_images = now, state.images
        knobs = self._schedule.at(state.step - 1)
        return StepRow(
            epoch=self._epoch,
            step=state.step,
            images=state.images,
            train=losses,
            lr=(knobs.lr_bias, knobs.lr_weight, knobs.lr_weight),
            pace=self._pace(images_per_s),
            eta_s=self._clock.left_s(state.step),
        )

    def _pace(self, images_per_s: float) -> Pace:
        device = self._world.device
        device_mib = Memory.of(device).reserved_bytes >> 20 if device.type == "cuda" else None
        return Pace(images_per_s, self._wait_share(), resident_bytes() >> 20, device_mib)

    def _show(self, row: StepRow, batch: DeviceBatch) -> None:
        """Show a reading, the most important first: a narrow terminal has no room for all of it."""
        if self._bar is None:
            return
        box, obj, cls = row.train
        parts = [f"{row.pace.images_per_s:.1f} images/s", self._clock.words(row.step)]
        parts += [f"box {box:.4f} obj {obj:.4f} cls {cls:.4f}", f"data wait {row.pace.data_wait:.0%}"]
        parts += [f"{row.pace.process_mib / 1024:.1f} GiB"]
        parts += [f"GPU {row.pace.device_mib / 1024:.1f} GiB"] if row.pace.device_mib is not None else []
        parts += [f"{batch.instances} objects at {batch.size_hw[0]}x{batch.size_hw[1]}"]
        self._bar.tell(*filter(None, parts))

    def _read(self, state: TrainState) -> tuple[list[float], TrainState]:
        """Return mean losses and the state with what the device has skipped: the one wait for the device."""
        skips = self._world.skips
        # This process's part, times the processes: an estimate; the line of the epoch is exact.
        means = self._terms * self._gradient.sharers / self._steps
        *terms, skipped, in_a_row = torch.cat((means, skips.numbers)).tolist()
        if not skips.on_device:
            return terms, state
        skips.forget()
        self._ema.discount(int(skipped))
        return terms, state.corrected(int(skipped), int(in_a_row))

    def is_end(self, state: TrainState) -> bool:
        """Return whether all steps of the epoch are done."""
        return self._schedule.within_epoch(state.step) == 0

    def within(self, state: TrainState) -> TrainState:
        """Return the state in mid-epoch, to be saved with what all processes have gathered of the epoch.

        What the device has counted stays uncounted here: a run that is saved goes on as one that is not.
        """
        terms = self._terms.tolist()
        rows = self._world.gather_rows(np.array([terms])).tolist() if self._gradient.sharers > 1 else [terms]
        skips = self._world.skips
        unread = tuple(map(int, skips.numbers.tolist())) if skips.on_device else ()
        return state.within_epoch(self._steps, tuple(map(tuple, rows)), unread)

    def completed(self, state: TrainState) -> TrainState:
        """Return the state after the last step, with the losses meaned over the epoch and summed over processes.

        An epoch of which only the validation was left keeps the losses it was saved with.
        """
        if not self._steps:
            return state
        _, state = self._read(state)
        self._numbers.judge(state)
        means = self._gradient.total(self._terms) / self._steps
        return state.to_validate(tuple(means.tolist()))

    def row(self, state: TrainState, result: Evaluation | None, saving_s: float) -> EpochRow:
        """Return the line of results of the epoch that `state` has just completed.

        Args:
            state: after its validation.
            result: its validation, None without one.
            saving_s: seconds spent on checkpoints since the last row.
        """
        metrics = None
        if result is not None:
            ap = result.ap
            metrics = ap.mean_precision, ap.mean_recall, ap.map50, ap.map50_95
        knobs = self._schedule.at(state.step - 1)
        return EpochRow(
            epoch=self._epoch,
            train=state.losses,
            metrics=metrics,
            val=result.losses if result is not None else None,
            lr=(knobs.lr_bias, knobs.lr_weight, knobs.lr_weight),
            seconds=self._seconds,
            validate_s=result.total_s if result is not None else 0.0,
            saving_s=saving_s,
            pace=self._pace(self._images / self._seconds if self._seconds else 0.0),
        )

    def _wait_share(self) -> float:
        spent = self._seconds or time.perf_counter() - self._started
        return self._waited_s / spent if spent else 0.0


def _share(rows: tuple[tuple[float, ...], ...], training: Training, world: World) -> list[float]:
    """Return the loss terms with which this process takes an epoch up, from those of each process that left it."""
    if not rows:
        return [0.0, 0.0, 0.0]
    if len(rows) == 1 and training.gradient.sharers == 1:  # they are those of all processes
        return list(rows[0])
    if len(rows) == world.size:
        return list(rows[world.rank])
    return np.sum(rows, axis=0).tolist() if world.is_leader else [0.0, 0.0, 0.0]
