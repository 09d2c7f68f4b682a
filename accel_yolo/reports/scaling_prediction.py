"""How training would scale to more processes than were measured. Pure."""

# N processes

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from accel_yolo.reports.scaling import Epoch, Measured, Scale, Split, epoch_of, serial_s, step_split


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
    split = Split(data_s * steps, compute_s * steps, communication_s * steps, serial_s(base, scale))
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
