"""How training scales with its processes: from the times of one step to epochs, their split, and a prediction. Pure."""

# N processes, B images per step on each

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """What was measured with N processes. Times are those of the slowest process.

    Attributes:
        processes: N.
        device: what each process computes on.
        batch_per_process: B.
        full_s: a step of the training loop, data included.
        data_s: the part of it that the loop spends on getting the batch.
        apart_s, apart_data_s: the same two while the processes exchange no gradient; they still share the cores of the
            data workers, caches, memory and the clock of the processor.
        exchange_s: the step alone, on a batch that is on the device already.
        alone_s: the same while the processes exchange nothing.
        control_s: the control word of a step, when nothing hides it.
        traffic_bytes: what each process hands over at an update: gradient and running statistics.
        allreduce_s: the sum of so many bytes over all processes, with nothing else to do; 0 for one process.
        latency_s: the sum of 8 bytes; 0 for one process.
        index_s: opening the verified data set.
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
    full_s: float
    data_s: float
    apart_s: float
    apart_data_s: float
    exchange_s: float
    alone_s: float
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


@dataclass(frozen=True)
class Link:
    """What connects processes, as a ring all-reduce sees it (Patarasuk and Yuan 2009).

    Attributes:
        bytes_per_s: what passes between two neighbours.
        message_s: the cost of a message without content.
    """

    bytes_per_s: float
    message_s: float

    @classmethod
    def of(cls, measured: Measured) -> Link:
        """Return the link of two or more processes from their sums of few and of many bytes."""
        n = measured.processes
        streaming_s = max(measured.allreduce_s - measured.latency_s, measured.allreduce_s / 100)
        return cls(_ring_volume(measured.traffic_bytes, n) / streaming_s, measured.latency_s / _ring_messages(n))

    def allreduce_s(self, traffic_bytes: int, processes: int) -> float:
        """Return the seconds of a sum over `processes`."""
        streaming_s = _ring_volume(traffic_bytes, processes) / self.bytes_per_s
        return streaming_s + _ring_messages(processes) * self.message_s


def _ring_messages(processes: int) -> int:
    return 2 * (processes - 1)


def _ring_volume(traffic_bytes: int, processes: int) -> float:
    return 2 * (processes - 1) / processes * traffic_bytes


def epoch_of(measured: Measured, scale: Scale) -> Epoch:
    """Return the epoch that steps and parts of the measured kind make up."""
    data_s, compute_s, communication_s = step_split(measured)
    steps = math.ceil(scale.images / measured.batch)
    split = Split(data_s * steps, compute_s * steps, communication_s * steps, _serial_s(measured, scale))
    val_s = measured.val_s * scale.val_images / measured.val_images
    return Epoch(measured.processes, measured.batch, steps, split, val_s, measured)


def step_split(measured: Measured) -> tuple[float, float, float]:
    """Return the seconds of a step of the training loop that go to data, computing and communication.

    What is not data is divided as the two kinds of steps on a ready batch divide it: with exchange and without.
    """
    data_s = min(measured.data_s, measured.full_s)
    work_s = measured.full_s - data_s
    compute_s = work_s * min(measured.alone_s / measured.exchange_s, 1.0) if measured.processes > 1 else work_s
    return data_s, compute_s, work_s - compute_s


def _serial_s(measured: Measured, scale: Scale) -> float:
    merge_s = measured.merge_s * scale.val_images / measured.val_images
    return measured.index_s * scale.factor + measured.checkpoint_s + merge_s


def predicted(worlds: Sequence[Measured], processes: int, scale: Scale) -> Epoch | None:
    """Return the epoch that `processes` processes should need, from worlds that have fewer; None without enough.

    The batch of each process stays the same (weak scaling): so do its data and its computing. The exchange grows as a
    ring all-reduce does; the share of it that hides behind the backward pass stays. The serial part stays.

    From one process alone nothing is known about the link, nor about what several processes take from each other. The
    first world of several processes is therefore predicted from one process (the serial part) and from its own
    processes while they exchange nothing (data and computing), plus a sum of the gradient's size with nothing else to
    do, none of it hidden. Its training with exchange is not used.
    """
    smaller = [world for world in worlds if world.processes < processes]
    if not smaller:
        return None
    base = max(smaller, key=lambda world: world.processes)
    data_s, compute_s, communication_s = step_split(base)
    if base.processes == 1:
        same = next((world for world in worlds if world.processes == processes), None)
        if same is None:
            return None
        data_s = min(same.apart_data_s, same.apart_s)
        compute_s, communication_s = same.apart_s - data_s, same.allreduce_s
    else:
        link = Link.of(base)
        shown = communication_s / link.allreduce_s(base.traffic_bytes, base.processes)
        communication_s = shown * link.allreduce_s(base.traffic_bytes, processes)
    batch = base.batch_per_process * processes
    steps = math.ceil(scale.images / batch)
    split = Split(data_s * steps, compute_s * steps, communication_s * steps, _serial_s(base, scale))
    merge_s = base.merge_s * scale.val_images / base.val_images
    val_s = (epoch_of(base, scale).val_s - merge_s) * base.processes / processes + merge_s
    return Epoch(processes, batch, steps, split, val_s)


def prediction_error(worlds: Sequence[Measured], measured: Measured, scale: Scale) -> float | None:
    """Return by what share of the measured images per second the prediction from smaller worlds misses; None for none.

    Positive where the prediction promises too much.
    """
    guess = predicted(worlds, measured.processes, scale)
    if guess is None:
        return None
    return guess.images_per_s / epoch_of(measured, scale).images_per_s - 1


def limit(first: Epoch, epoch: Epoch) -> str:
    """Return one sentence: what keeps `epoch` from being as many times faster than `first` as it has processes."""
    data, compute, communication, serial = epoch.split.percent()
    ideal_s = first.split.compute_s / first.steps * epoch.steps
    sharing_s = max(epoch.split.compute_s - ideal_s, 0.0)
    losses = {
        "waiting for data": epoch.split.data_s,
        "communication": epoch.split.communication_s,
        "the serial work of an epoch": epoch.split.serial_s,
        "that processes on one machine slow each other down": sharing_s,
    }
    name, seconds = max(losses.items(), key=lambda item: item[1])
    shares = f"{data:.1f} % data, {compute:.1f} % compute, {communication:.1f} % communication, {serial:.1f} % serial"
    start = f"At {epoch.processes} devices an epoch would be {shares}"
    if seconds < 0.05 * epoch.split.total_s:
        return f"{start}: nothing takes more than a twentieth, scaling goes on."
    return f"{start}: what limits is {name}."
