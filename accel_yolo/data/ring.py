"""Batches rendered ahead of their use, in a ring of slots that is allocated once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from accel_yolo import console
from accel_yolo.data import whereabouts
from accel_yolo.data.crew import Crew, Renders, Task
from accel_yolo.data.room import UNKNOWN, amount, free_memory_bytes
from accel_yolo.data.slots import Slots
from accel_yolo.data.workers import Workers
from accel_yolo.errors import EnvironmentFault

SLOTS = 6
"""Batches in shared memory: one in use, one on its way to the device, the others being rendered."""


class Ring:
    """Renders batches with workers that persist, or in the calling process when there are none.

    Args:
        renderer: what renders a sample.
        largest_bytes: size of the largest batch.
        workers: how many, and how they are started.
    """

    def __init__(self, renderer: Renders, largest_bytes: int, workers: Workers) -> None:
        self._renderer, self._largest_bytes, self._workers = renderer, largest_bytes, workers

    def rendered(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, np.ndarray, list[Any]]]:
        """Yield each batch: what was asked for, its images uint8 [B, H, W, 3], and what is said of each sample.

        The images lie in memory that is written again when the batch after the next one is asked for.

        Raises:
            UserError: a sample cannot be rendered.
            EnvironmentFault: a worker is gone or does not get on, or there is no memory for the batches.
        """
        placed = [replace(task, slot=number % SLOTS) for number, task in enumerate(tasks)]
        if not self._workers.count:
            for task in placed:
                images = self._slots.view(task.slot, task.shape)
                yield task, images, list(map(self._renderer.render, task.keys, images))
            return
        crew, ahead = self._crew, SLOTS - 1
        crew.forget()  # what came before may have been left before its end
        for task in placed[:ahead]:
            crew.ask(task)
        for number, task in enumerate(placed):
            answers = crew.answers()
            yield task, self._slots.view(task.slot, task.shape), answers
            # The next batch is asked for, so the one before this has been used: its slot is free.
            if number + ahead < len(placed):
                crew.ask(placed[number + ahead])

    def files(self) -> list[str]:
        """Return the files that are being read at this moment, for whoever asks why it takes so long."""
        if "_crew" in self.__dict__:
            return self._crew.files()
        return [path for path in (whereabouts.here(),) if path and not self._workers.count]

    @cached_property
    def _slots(self) -> Slots:
        _require_room(SLOTS * self._largest_bytes, free_memory_bytes())
        slots = Slots(SLOTS, self._largest_bytes)
        if self._workers.pin_memory:
            _page_lock(slots)
        return slots

    @cached_property
    def _crew(self) -> Crew:
        workers = self._workers
        return Crew(self._renderer, self._slots, workers.count, workers.start_method, workers.patience_s)


def _require_room(wanted_bytes: int, free_bytes: int) -> None:
    """Check that the batches fit into memory, before a page of them is taken. Raises EnvironmentFault."""
    if free_bytes == UNKNOWN or wanted_bytes <= free_bytes:
        return
    value = f"{SLOTS} of them take {amount(wanted_bytes)}, {amount(free_bytes)} is free"
    remedy = "use a smaller --batch or --imgsz, or fewer processes on this machine"
    raise EnvironmentFault("the batches do not fit into memory", "the data loader", value, remedy)


def _page_lock(slots: Slots) -> None:
    """Lock the slots into memory, so that a GPU fetches batches from where the workers wrote them."""
    memory, runtime = torch.from_numpy(slots.memory.array()), torch.cuda.cudart()
    assert runtime is not None
    outcome = runtime.cudaHostRegister(memory.data_ptr(), memory.numel(), 0)
    if int(outcome) != 0:
        console.warn(f"batches could not be locked into memory ({outcome}): copies to the GPU will wait")
        return
    weakref.finalize(slots, runtime.cudaHostUnregister, memory.data_ptr())
