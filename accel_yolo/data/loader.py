"""Training batches, rendered from keys. The key carries everything random, so who does the work does not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from accel_yolo.data.crew import Renders, Task
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.order import steps_per_epoch
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.ring import Ring
from accel_yolo.data.workers import Workers


class Samples(Renders, Protocol):
    """What a loader needs of samples.

    Attributes:
        source: what they are planned from.
        unit: positions of an image: 1, or 4 where images show several samples (`--quad`).
        colour: images are finished; otherwise colour gains travel with the batch.
    """

    source: PlanSource
    unit: int
    colour: bool

    def out_hw_at(self, unit: int, /) -> tuple[int, int]:
        """Return the (height, width) in px of an image."""
        ...

    def annotated(self, key: Key, /) -> dict[str, list[list[float]]]:
        """Return the files that are seen in an image, each with the rows of its labels."""
        ...


@dataclass(frozen=True)
class HostBatch:
    """Images of consecutive places of the global order.

    Attributes:
        images: [B, H, W, 3] uint8 RGB. They lie in memory that is written again when the batch after the next one
            is asked for.
        targets: [T, 6] float32: image in the batch, class, cx, cy, w, h (0..1).
        positions: the B positions in the epoch; with `--quad`, the numbers of the units.
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
        batch: positions of the global batch.
        places: the places of the global batch that this process works on, counted in images: units of positions.
        workers: how batches are made.
        pieces: the micro-batches of a batch, as ranges of the places of this process counted from 0.
    """

    def __init__(
        self, samples: Samples, batch: int, places: range, workers: Workers, pieces: Sequence[range] = ()
    ) -> None:
        self.pieces = pieces or [range(len(places))]
        self.steps_per_epoch = steps_per_epoch(len(samples.source), batch)
        self._samples, self._per_step, self._places = samples, batch // samples.unit, places
        largest = max(int(np.prod(self.task(0, step).shape)) for step in range(self.steps_per_epoch))
        self._ring = Ring(samples, largest, workers.at_most(len(places)))

    def epoch(self, epoch: int, class_ap: tuple[float, ...] = (), first: int = 0) -> Iterator[HostBatch]:
        """Yield the batches of an epoch.

        Args:
            epoch: >= 0.
            class_ap: AP of every class by which its order is drawn (`--image-weights`); () for that of the source.
            first: step of the epoch to begin with; nothing before it is rendered.

        Raises:
            DataError: an image could not be read; named.
            EnvironmentFault: a worker is gone.
        """
        tasks = [self.task(epoch, step, class_ap) for step in range(first, self.steps_per_epoch)]
        for task, images, answers in self._ring.rendered(tasks):
            yield self.collected(task, images, answers)

    def task(self, epoch: int, step: int, class_ap: tuple[float, ...] = ()) -> Task:
        """Return what is to be rendered for a step."""
        positions = [step * self._per_step + place for place in self._places]
        height, width = self._samples.out_hw_at(positions[0])
        keys = tuple(Key(epoch, position, class_ap) for position in positions)
        return Task((len(positions), height, width, 3), keys)

    def contents(self, epoch: int, step: int, class_ap: tuple[float, ...] = ()) -> dict[str, list[list[float]]]:
        """Return the image files of this process's share of a step, each with the rows of its labels.

        They follow from the seed: nothing is remembered, and no pixel is read.

        Args:
            epoch: >= 0.
            step: of the epoch.
            class_ap: see `epoch`.
        """
        keys = self.task(epoch, step, class_ap).keys
        return {path: rows for key in keys for path, rows in self._samples.annotated(key).items()}

    def files(self) -> list[str]:
        """Return the files that are being read at this moment."""
        return self._ring.files()

    def collected(self, task: Task, images: np.ndarray, answers: list[tuple[np.ndarray, tuple]]) -> HostBatch:
        """Return the batch of a step from its images and what its samples say of themselves."""
        rows = [
            np.concatenate((np.full((len(labels), 1), place, dtype=np.float32), labels), 1)
            for place, (labels, _) in enumerate(answers)
        ]
        positions = tuple(key.position for key in task.keys)
        gains = None if self._samples.colour else np.array([each for _, each in answers], dtype=np.float32)
        return HostBatch(torch.from_numpy(images), np.concatenate(rows).astype(np.float32), positions, gains)
