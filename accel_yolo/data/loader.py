"""Workers that turn keys into batches. The key carries everything random, so who does the work does not matter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from accel_yolo.data.images import read_resized
from accel_yolo.data.index import SplitIndex
from accel_yolo.data.labels import labels_for
from accel_yolo.data.order import steps_per_epoch
from accel_yolo.data.plan import PlanSource, plan_sample
from accel_yolo.data.render_cpu import render
from accel_yolo.data.workers import Guarded, Workers
from accel_yolo.errors import UserError

Key = tuple[int, int]
"""(epoch, position) of a training sample."""


@dataclass(frozen=True)
class Sample:
    """One training sample: RGB uint8 [H, W, 3], and labels float32 [k, 5] (class, cx, cy, w, h in 0..1)."""

    image: np.ndarray
    labels: np.ndarray

    def digest(self) -> str:
        """Return the SHA-256 of pixels and labels: equal samples, equal digest."""
        content = hashlib.sha256(np.ascontiguousarray(self.image).tobytes())
        content.update(np.ascontiguousarray(self.labels, dtype=np.float32).tobytes())
        return content.hexdigest()


@dataclass(frozen=True)
class HostBatch:
    """Samples of consecutive places of the global order.

    Attributes:
        images: [B, H, W, 3] uint8 RGB.
        targets: [T, 6] float32: image in the batch, class, cx, cy, w, h (0..1).
        positions: the B positions in the epoch.
    """

    images: Tensor
    targets: np.ndarray
    positions: tuple[int, ...]

    def pin_memory(self) -> HostBatch:
        """Return the batch with images in page-locked memory (called by the DataLoader on CUDA machines)."""
        return replace(self, images=self.images.pin_memory())


class TrainSamples(Dataset):
    """Training samples by key; the same key gives the same bytes in any process."""

    def __init__(self, index: SplitIndex, source: PlanSource, seed: int) -> None:
        self.index, self.source, self.seed = index, source, seed

    def __getitem__(self, key: Key) -> Sample:
        """Return the sample of (epoch, position)."""
        epoch, position = key
        plan = plan_sample(self.source, self.seed, epoch, position)
        return Sample(render(plan, self._load, self.index), labels_for(plan, self.index))

    def _load(self, index: int) -> np.ndarray:
        return read_resized(self.index.paths[index], self.source.imgsz, augmenting=True)


class TrainLoader:
    """This process's share of every global batch, rendered by persistent workers.

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
        self._keys = _EpochKeys(self.steps_per_epoch, batch, places)
        self._loader = DataLoader(
            Guarded(samples),
            batch_sampler=self._keys,
            collate_fn=_collate_guarded,
            **workers.options(),
        )

    def epoch(self, epoch: int) -> Iterator[HostBatch]:
        """Yield the batches of an epoch.

        Raises:
            DataError: an image could not be read; named.
        """
        self._keys.epoch = epoch
        for batch in self._loader:
            if isinstance(batch, UserError):
                raise batch
            yield batch


class _EpochKeys:
    """The key lists of one epoch; lives in the main process, so persistent workers need not know the epoch."""

    def __init__(self, steps: int, batch: int, places: range) -> None:
        self.steps, self.batch, self.places, self.epoch = steps, batch, places, 0

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.steps):
            yield [(self.epoch, step * self.batch + place) for place in self.places]

    def __len__(self) -> int:
        return self.steps


def _collate_guarded(items: list[tuple[Key, Sample | UserError]]) -> HostBatch | UserError:
    samples = []
    for _, sample in items:
        if isinstance(sample, UserError):
            return sample
        samples.append(sample)
    return collate(samples, tuple(position for (_, position), _ in items))


def collate(samples: Sequence[Sample], positions: tuple[int, ...]) -> HostBatch:
    """Return samples of one size as a batch."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    rows = [
        np.concatenate((np.full((len(sample.labels), 1), place, dtype=np.float32), sample.labels), 1)
        for place, sample in enumerate(samples)
    ]
    return HostBatch(images, np.concatenate(rows).astype(np.float32), positions)
