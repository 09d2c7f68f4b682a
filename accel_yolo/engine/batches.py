"""Training batches on their way to the device: cells are matched and counted over all processes while the last
step still computes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from accel_yolo import waypoints
from accel_yolo.data.loader import HostBatch, TrainLoader
from accel_yolo.devices import moved
from accel_yolo.engine.comparison import named, odd_one_out, places_of, told_apart
from accel_yolo.engine.messages import PendingSum
from accel_yolo.engine.own_share import Contents
from accel_yolo.engine.schedule import Schedule
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.transfer import Arriving, Transfer
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError
from accel_yolo.losses.assignment import LevelEntries, assign, entry_counts
from accel_yolo.losses.detection import LossOptions, term_means
from accel_yolo.models.detector import Detector


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass of one process works on.

    Attributes:
        images: [B, H, W, 3] uint8 on the device.
        entries: L tables of matched cells on the device.
        gains: [B, 3] float32 on the device, factors of hue, saturation and value that are still to be applied; None
            when the images are finished.
    """

    images: Tensor
    entries: list[LevelEntries]
    gains: Tensor | None = None


@dataclass(frozen=True)
class DeviceBatch:
    """One step's share of one process, ready to be computed.

    Attributes:
        parts: its micro-batches; one, unless --micro-batch splits the share.
        size_hw: network input size of this step, px.
        local_images, global_images: images here and over all processes, as the network sees them.
        samples: samples that they show, over all processes: four for each image with `--quad`, else one.
        instances: objects over all processes.
        entry_counts: [L] float32 on the device, matched cells per level over all processes.
        cell_counts: [L] float32 on the device, B·A·H·W per level over all processes.
        waited_s: seconds the loop waited for the data of this batch.
        contents: finds the image files of this process's share, each with the rows of its labels.
    """

    parts: list[MicroBatch]
    size_hw: tuple[int, int]
    local_images: int
    global_images: int
    samples: int
    instances: int
    entry_counts: Tensor
    cell_counts: Tensor
    waited_s: float
    contents: Contents


def batch_loss(sums: Tensor, batch: DeviceBatch, options: LossOptions) -> Tensor:
    """Return this process's part of the loss of the whole batch, times its samples as the reference has it.

    The parts of all processes add up to what one process with the whole batch would compute, because sums are divided
    by global counts: not the mean of per-process means, which would weigh objects by where they happen to be.
    """
    return term_means(sums, batch.entry_counts, batch.cell_counts, options).sum() * batch.samples


@dataclass(frozen=True)
class _Prepared:
    images: Arriving
    gains: Tensor | None
    entries: list[list[LevelEntries]]
    size_hw: tuple[int, int]
    grids: list[tuple[int, int]]
    word: PendingSum
    waited_s: float


class Word(Protocol):
    """What processes tell each other beside the counts of a batch."""

    def word(self) -> list[int]:
        """Return what this process says."""
        ...

    def hear(self, total: list[int]) -> None:
        """Take in the sum of what all processes said, before the step with which it came."""
        ...


class NoWord:
    """Nothing to say."""

    def word(self) -> list[int]:
        """Return nothing."""
        return []

    def hear(self, total: list[int]) -> None:
        """Do nothing."""


class Batches:
    """The steps of an epoch as device batches, one prepared ahead.

    Args:
        loader: this process's share of the batches.
        detector: whose cells are matched.
        schedule: of the run.
        world: all processes.
        word: what they tell each other besides.
    """

    def __init__(
        self, loader: TrainLoader, detector: Detector, schedule: Schedule, world: World, word: Word | None = None
    ) -> None:
        self.loader, self.schedule, self.world, self._word = loader, schedule, world, word or NoWord()
        self.strides, self.anchor_t = detector.strides, schedule.config.hyp.anchor_t
        self.anchors_grid = detector.anchors.detach().cpu().numpy()
        self.samples, self.images = schedule.config.batch, schedule.config.batch // schedule.config.unit
        self.pieces = loader.pieces
        self._transfer = Transfer(world.device)

    def steps(self, state: TrainState) -> Iterator[DeviceBatch]:
        """Yield the batches that are left of an epoch in the global order; none when only its validation is.

        Raises:
            PeerError: the processes are not at the same step.
        """
        if state.phase != "train":
            return
        first, done = state.step, self.schedule.within_epoch(state.step)
        end = first - done + self.schedule.steps_per_epoch
        source = iter(self.loader.epoch(state.epoch, state.class_ap, done))
        waypoints.reach("data", first)
        waypoints.tell_files(self.loader.files)  # those that are being read
        ahead = self._prepare(source, first)
        for step in range(first, end):
            waypoints.reach("agreement", step)
            current = self._finish(ahead, step)
            if step + 1 < end:
                waypoints.reach("data")
                waypoints.tell_files(self.loader.files)
                ahead = self._prepare(source, step + 1)
            within = self.schedule.within_epoch(step)
            contents = partial(self.loader.contents, state.epoch, within, state.class_ap)
            waypoints.tell_files(lambda contents=contents: list(contents()))
            yield self._to_batch(*current, contents)
        waypoints.tell_files(None)

    def _prepare(self, source: Iterator[HostBatch], step: int) -> _Prepared:
        self._transfer.finish_all_but_last()  # workers write there as soon as the next batch is asked for
        started = time.perf_counter()
        host = next(source)
        waited_s = time.perf_counter() - started
        images = self._transfer.start(host.images)
        height, width = host.images.shape[1:3]
        size_hw = self._size(height, width, step)
        grids = [(size_hw[0] // stride, size_hw[1] // stride) for stride in self.strides]
        device, entries, counts = self.world.device, [], np.zeros(len(grids), dtype=np.int64)
        for piece in self.pieces:
            # Matched piece by piece: the entries of a micro-batch depend on nothing but its own images.
            inside = (host.targets[:, 0] >= piece.start) & (host.targets[:, 0] < piece.stop)
            targets = host.targets[inside] - np.array([piece.start, 0, 0, 0, 0, 0], dtype=np.float32)
            matched = assign(targets, self.anchors_grid, grids, self.anchor_t)
            counts += entry_counts(matched)
            entries.append([level.to(device) for level in matched])
        # The control word: counts for the loss, the step so that processes that drift apart are caught (one ahead and
        # one behind by its square), and what else there is to say.
        numbers = [*counts.tolist(), len(host.targets), step, step**2, *self._word.word()]
        word = torch.tensor(numbers, dtype=torch.int64)
        return _Prepared(
            images=images,
            gains=None if host.gains is None else moved(host.gains, device),
            entries=entries,
            size_hw=size_hw,
            grids=grids,
            word=self.world.start_sum(word),
            waited_s=waited_s,
        )

    def _size(self, height: int, width: int, step: int) -> tuple[int, int]:
        stride = max(32, *self.strides)
        size = self.schedule.image_size(step, stride) * (2 if self.schedule.config.quad else 1)
        longest = max(height, width)
        if not self.schedule.config.multi_scale or size == longest:
            return height, width
        ratio = size / longest
        return tuple(-int(-side * ratio // stride) * stride for side in (height, width))  # pyright: ignore

    def _finish(self, prepared: _Prepared, step: int) -> tuple[_Prepared, list[int]]:
        word, place = prepared.word.wait().tolist(), len(self.strides) + 1
        if word[place : place + 2] != [step * self.world.size, step**2 * self.world.size]:  # so on all processes
            raise self.world.common(self._drift(step))
        self._word.hear(word[place + 2 :])
        return prepared, word

    def _drift(self, step: int) -> PeerError:
        steps, told = self.world.gather_text(str(step)), None
        odd = odd_one_out(places_of(self.world), steps)
        if odd is not None:
            who = named(self.world, odd.rank)
            told = f"{who} is at {told_apart(self.world, odd, steps[odd.rank], steps[odd.usual_rank])}"
        remedy = "go on from the newest checkpoint with --resume; if it happens again, report it"
        return PeerError("processes are at different steps", value=told, remedy=remedy)

    def _to_batch(self, prepared: _Prepared, word: list[int], contents: Contents) -> DeviceBatch:
        levels = len(self.strides)
        anchors = self.anchors_grid.shape[1]
        cells = [self.images * anchors * height * width for height, width in prepared.grids]
        counts = moved(torch.tensor([word[:levels], cells], dtype=torch.float32), self.world.device)
        images, gains = prepared.images.taken(), prepared.gains
        parts = [
            MicroBatch(
                images[piece.start : piece.stop], entries, None if gains is None else gains[piece.start : piece.stop]
            )
            for piece, entries in zip(self.pieces, prepared.entries, strict=True)
        ]
        return DeviceBatch(
            parts=parts,
            size_hw=prepared.size_hw,
            local_images=len(images),
            global_images=self.images,
            samples=self.samples,
            instances=word[levels],
            entry_counts=counts[0],
            cell_counts=counts[1],
            waited_s=prepared.waited_s,
            contents=contents,
        )
