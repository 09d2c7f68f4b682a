"""Training batches rendered on the device, from images it holds: workers plan and label, the device does the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accel_yolo.data.crew import Task
from accel_yolo.data.device_images import DeviceImages
from accel_yolo.data.loader import HostBatch, TrainLoader
from accel_yolo.data.plan_tables import SampleRow, batch_tables, no_copies
from accel_yolo.data.planned_samples import PlannedSamples
from accel_yolo.data.render_torch import PLAIN, Programs, render_tables
from accel_yolo.data.samples import NO_GAINS
from accel_yolo.data.workers import Workers


class DeviceLoader(TrainLoader):
    """This process's share of every global batch, planned ahead by workers; pixels appear on the device.

    The images of its batches are on the device, rendered on the stream of the caller, who does not wait for them.

    Args:
        samples: what to plan.
        images: all images of the split.
        batch: images of the global batch.
        places: the places of the global batch that this process works on.
        workers: how plans are made.
        pieces: the micro-batches of a batch, as ranges of the places of this process counted from 0.
        programs: the functions that render.

    Raises:
        ConfigError: the recipe copies objects.
    """

    def __init__(
        self,
        samples: PlannedSamples,
        images: DeviceImages,
        batch: int,
        places: range,
        workers: Workers,
        pieces: Sequence[range] = (),
        programs: Programs = PLAIN,
    ) -> None:
        if samples.source.hyp.copy_paste:
            raise no_copies()
        super().__init__(samples, batch, places, workers, pieces)
        self._images, self._programs = images, programs

    def task(self, epoch: int, step: int, class_ap: tuple[float, ...] = ()) -> Task:
        """Return what is to be planned for a step: a batch without pixels."""
        task = super().task(epoch, step, class_ap)
        return replace(task, shape=(len(task.keys), 0, 0, 3))

    def collected(self, task: Task, images: np.ndarray, answers: list[tuple[np.ndarray, SampleRow]]) -> HostBatch:
        """Return the batch of a step, its pixels rendered on the device."""
        batch = super().collected(task, images, [(labels, NO_GAINS) for labels, _ in answers])
        out_hw = self._samples.source.out_hw_at(batch.positions[0])
        tables = batch_tables([row for _, row in answers], out_hw)
        pixels = render_tables(tables, self._images, colour=False, programs=self._programs)
        return replace(batch, images=pixels, gains=tables.gains)
