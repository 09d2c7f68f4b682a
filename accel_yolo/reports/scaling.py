"""How training scales with its processes: from the times of one step to epochs and their split. Pure."""

# N processes, B images per step on each

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one step, medians over rounds, of the slowest process.

    Attributes:
        full_s: a step of the training loop, data included.
        data_s: the part of it that the loop spends on getting the batch.
        apart_s, apart_data_s: the same two while the processes exchange no gradient; they still share the cores of the
            data workers, caches, memory and the clock of the processor.
        exchange_s: the step alone, on a batch that is on the device already.
        alone_s: the same while the processes exchange nothing.
        scatter_s: standard error of the difference of these two.
    """

    full_s: float
    data_s: float
    apart_s: float
    apart_data_s: float
    exchange_s: float
    alone_s: float
    scatter_s: float


@dataclass(frozen=True)
class Measured(StepTimes):
    """What was measured with N processes. Times are those of the slowest process.

    Attributes:
        processes: N.
        device: what each process computes on.
        batch_per_process: B.
        control_s: the control word of a step, when nothing hides it.
        traffic_bytes: what each process hands over at an update: gradient and running statistics.
        allreduce_s: the sum of so many bytes over all processes, with nothing else to do; 0 for one process.
        latency_s: the sum of 8 bytes; 0 for one process.
        index_s: opening the verified data set, without messages.
        checkpoint_s: writing the checkpoints and weight files of an epoch.
        merge_s: merging the detections of all processes into metrics.
        val_s: a whole evaluation of `val_images` images, merging included.
        val_images: images of that evaluation.
        memory_bytes: most memory of tensors, for each process.
        reserved_bytes: what the allocator of the device took for them (CPU: the whole process).
    """

    processes: int
    device: str
    batch_per_process: int
    control_s: float
    traffic_bytes: int
    allreduce_s: float
    latency_s: float
    index_s: float
    checkpoint_s: float
    merge_s: float
    val_s: float
    val_images: int
    memory_bytes: tuple[int, ...]
    reserved_bytes: tuple[int, ...]

    @property
    def batch(self) -> int:
        """Images of a step over all processes."""
        return self.batch_per_process * self.processes

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Measured:
        """Return what `to_json` described."""
        tuples = {name: tuple(data[name]) for name in ("memory_bytes", "reserved_bytes")}
        return cls(**{**data, **tuples})


@dataclass(frozen=True)
class Scale:
    """The epoch that times are given for.

    Attributes:
        images, val_images: images of that epoch.
        own_images, own_val_images: images of the data set that was measured with.
    """

    images: int
    val_images: int
    own_images: int
    own_val_images: int

    @property
    def factor(self) -> float:
        """How many times larger the epoch is than that of the data set."""
        return self.images / self.own_images

    @property
    def val_factor(self) -> float:
        """The same for the validation."""
        return self.val_images / self.own_val_images


@dataclass(frozen=True)
class Split:
    """Where the seconds of an epoch go: its training, and the work that more processes do not shorten.

    Attributes:
        data_s: getting batches.
        compute_s: forward, backward, update.
        communication_s: exchange of gradients and statistics, as far as it is not hidden behind the backward pass.
        serial_s: opening the data set, writing checkpoints, merging metrics.
    """

    data_s: float
    compute_s: float
    communication_s: float
    serial_s: float

    @property
    def train_s(self) -> float:
        """The training part."""
        return self.data_s + self.compute_s + self.communication_s

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.train_s + self.serial_s

    def percent(self) -> tuple[float, float, float, float]:
        """Return the four shares in percent, in tenths that add up to exactly 100.0."""
        parts = (self.data_s, self.compute_s, self.communication_s, self.serial_s)
        exact = [part / self.total_s * 1000 for part in parts]
        tenths = [math.floor(value) for value in exact]
        by_remainder = sorted(range(4), key=lambda place: tenths[place] - exact[place])
        for place in by_remainder[: 1000 - sum(tenths)]:
            tenths[place] += 1
        data, compute, communication, serial = (value / 10 for value in tenths)
        return data, compute, communication, serial


@dataclass(frozen=True)
class Epoch:
    """An epoch on some number of processes, measured or predicted.

    Attributes:
        processes: N.
        batch: images of a step over all processes.
        steps: steps of the epoch.
        split: where its seconds go.
        val_s: its validation.
        measured: what it was computed from; None for a prediction.
    """

    processes: int
    batch: int
    steps: int
    split: Split
    val_s: float
    measured: Measured | None = None

    @property
    def images_per_s(self) -> float:
        """Training images per second; the last batch of an epoch is as full as the others."""
        return self.steps * self.batch / self.split.train_s

    def speed_up(self, first: Epoch) -> float:
        """Return how many times faster than `first` the training is."""
        return self.images_per_s / first.images_per_s

    def efficiency(self, first: Epoch) -> float:
        """Return the speed-up over `first` as a share of the ideal one."""
        return self.speed_up(first) * first.processes / self.processes


def epoch_of(measured: Measured, scale: Scale) -> Epoch:
    """Return the epoch that steps and parts of the measured kind make up."""
    data_s, compute_s, communication_s = step_split(measured)
    steps = math.ceil(scale.images / measured.batch)
    split = Split(data_s * steps, compute_s * steps, communication_s * steps, serial_s(measured, scale))
    val_s = measured.val_s * scale.val_images / measured.val_images
    return Epoch(measured.processes, measured.batch, steps, split, val_s, measured)


def step_split(measured: Measured) -> tuple[float, float, float]:
    """Return the seconds of a step of the training loop that go to data, computing and communication.

    What is not data is divided as the two kinds of steps on a ready batch divide it: with exchange and without. Where
    their difference is less than its own scatter, nothing is known but that the exchange takes no more than that, and,
    if nothing hides it, what a sum takes on its own: the smaller of the two is taken.
    """
    data_s = min(measured.data_s, measured.full_s)
    work_s = measured.full_s - data_s
    if measured.processes == 1:
        return data_s, work_s, 0.0
    shown_s = measured.exchange_s - measured.alone_s
    if shown_s < measured.scatter_s:
        shown_s = min(measured.scatter_s, measured.allreduce_s)
    communication_s = work_s * min(max(shown_s / measured.exchange_s, 0.0), 1.0)
    return data_s, work_s - communication_s, communication_s


def serial_s(measured: Measured, scale: Scale) -> float:
    """Return the seconds of an epoch that more processes do not shorten."""
    merge_s = measured.merge_s * scale.val_images / measured.val_images
    return measured.index_s * scale.factor + measured.checkpoint_s + merge_s
