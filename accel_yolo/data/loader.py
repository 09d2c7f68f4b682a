"""Training batches, rendered from keys. The key carries everything random, so who does the work does not matter."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from accel_yolo import console
from accel_yolo.data.crew import Crew, Task
from accel_yolo.data.order import steps_per_epoch
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.slots import Slots
from accel_yolo.data.workers import Workers

SLOTS = 6
"""Batches in shared memory: one in use, one on its way to the device, the others being rendered."""


@dataclass(frozen=True)
class HostBatch:
    """Samples of consecutive places of the global order.

    Attributes:
        images: [B, H, W, 3] uint8 RGB. Where workers render, a place in shared memory that is used again when the
            batch after the next one is asked for.
        targets: [T, 6] float32: image in the batch, class, cx, cy, w, h (0..1).
        positions: the B positions in the epoch.
        gains: [B, 3] float32, factors of hue, saturation and value that are left to the device; None when the images
            are finished.
    """

    images: Tensor
    targets: np.ndarray
    positions: tuple[int, ...]
    gains: np.ndarray | None = None


class TrainLoader:
    """This process's share of every global batch, rendered ahead by persistent workers.

    Args:
        samples: what to render.
        batch: images of the global batch.
        places: the places of the global batch that this process works on.
        workers: how batches are made.
        pieces: the micro-batches of a batch, as ranges of the places of this process counted from 0.
    """

    def __init__(
        self, samples: TrainSamples, batch: int, places: range, workers: Workers, pieces: Sequence[range] = ()
    ) -> None:
        self.pieces = pieces or [range(len(places))]
        self.steps_per_epoch = steps_per_epoch(len(samples.source), batch)
        self._samples, self._batch, self._places = samples, batch, places
        self._workers = workers.at_most(len(places))

    def epoch(self, epoch: int) -> Iterator[HostBatch]:
        """Yield the batches of an epoch.

        Raises:
            DataError: an image could not be read; named.
            EnvironmentFault: a worker is gone.
        """
        tasks = [self._task(epoch, step) for step in range(self.steps_per_epoch)]
        if not self._workers.count:
            yield from map(self._rendered_here, tasks)
            return
        crew, ahead = self._crew, SLOTS - 1
        crew.forget()  # an epoch may have been left before its end
        for task in tasks[:ahead]:
            crew.ask(task)
        for step, task in enumerate(tasks):
            yield self._collected(task, self._slots.view(task.slot, task.shape), crew.answers())
            # The next batch is asked for, so the one before this has been computed: its slot is free.
            if step + ahead < len(tasks):
                crew.ask(tasks[step + ahead])

    @cached_property
    def _slots(self) -> Slots:
        sizes = [self._task(0, step).shape for step in range(self.steps_per_epoch)]
        slots = Slots(SLOTS, max(int(np.prod(shape)) for shape in sizes))
        if self._workers.pin_memory:
            _page_lock(slots)
        return slots

    @cached_property
    def _crew(self) -> Crew:
        return Crew(self._samples, self._slots, self._places, self._workers.count, self._workers.start_method)

    def _task(self, epoch: int, step: int) -> Task:
        first = step * self._batch
        height, width = self._samples.source.out_hw_at(first)
        return Task(step % SLOTS, (len(self._places), height, width, 3), epoch, first)

    def _rendered_here(self, task: Task) -> HostBatch:
        images = np.empty(task.shape, dtype=np.uint8)
        keys = [(task.epoch, task.first_position + place) for place in self._places]
        return self._collected(task, images, list(map(self._samples.render, keys, images)))

    def _collected(self, task: Task, images: np.ndarray, answers: list[tuple[np.ndarray, tuple]]) -> HostBatch:
        rows = [
            np.concatenate((np.full((len(labels), 1), place, dtype=np.float32), labels), 1)
            for place, (labels, _) in enumerate(answers)
        ]
        positions = tuple(task.first_position + place for place in self._places)
        gains = None if self._samples.colour else np.array([each for _, each in answers], dtype=np.float32)
        return HostBatch(torch.from_numpy(images), np.concatenate(rows).astype(np.float32), positions, gains)


def _page_lock(slots: Slots) -> None:
    """Lock the slots into memory, so that a GPU fetches batches from where the workers wrote them."""
    memory = torch.from_numpy(slots.memory.array())
    outcome = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)
    if int(outcome) != 0:
        console.warn(f"batches could not be locked into memory ({outcome}): copies to the GPU will wait")
        return
    weakref.finalize(slots, torch.cuda.cudart().cudaHostUnregister, memory.data_ptr())
