"""`--batch -1`: the largest batch whose steps fit into memory, found by taking steps.

For every process, forward and backward passes of the detector and its loss are taken at growing batch sizes, on a
detector that is thrown away (on a CPU in a process that is), and the memory at their peak is measured. A straight line
through the measurements says how many images fit into a share of what is free. All processes agree on the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel_yolo import console
from accel_yolo.config.resolve import AUTOBATCH, Origins
from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.device_images import free_device_bytes
from accel_yolo.data.room import amount
from accel_yolo.engine.build import Data
from accel_yolo.engine.memory import sharers_of
from accel_yolo.engine.probe import Steps, taken_bytes
from accel_yolo.engine.probe_process import taken_elsewhere
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError, EnvironmentFault

SHARE = 0.8
"""Share of the free memory that training may take; the rest is for validation, fragmentation and the neighbours."""

GROWTH = (1, 2, 4, 8, 16)
"""Batch sizes that are tried, in the smallest parts that a batch may have."""

MOST_IMAGES = 1024
"""Most images of a process, however large its memory is."""


@dataclass(frozen=True)
class Measured:
    """What steps of a process took.

    Attributes:
        sizes: images of each step, ascending.
        taken_bytes: peak of each above what was there before, with everything that training keeps beside it.
        failed: the size at which memory ran out; None if it never did.
    """

    sizes: tuple[int, ...]
    taken_bytes: tuple[int, ...]
    failed: int | None = None

    def fitting(self, room_bytes: int, part: int) -> int:
        """Return how many images fit into `room_bytes`, a multiple of `part`; 0 for none.

        More than what was measured is estimated by a straight line. What was measured to fit, fits. Where memory ran
        out, there is less than the system said: no more is taken than `SHARE` of what was had.
        """
        if self.failed is not None and self.taken_bytes:
            room_bytes = min(room_bytes, max(round(SHARE * self.taken_bytes[-1]), self.taken_bytes[0]))
        pairs = list(zip(self.sizes, self.taken_bytes, strict=True))
        known = max((size for size, taken in pairs if taken <= room_bytes), default=0)
        too_large = [size for size, taken in pairs if taken > room_bytes]
        if not known:
            return 0
        estimate = known
        if len(pairs) > 1:
            each, base = np.polyfit(self.sizes, self.taken_bytes, 1)
            estimate = int((room_bytes - base) / each) if each > 0 else MOST_IMAGES
        return max(min(estimate, min(too_large, default=estimate + part) - part), known) // part * part


def with_chosen_batch(config: TrainConfig, origins: Origins, data: Data, world: World) -> tuple[TrainConfig, Origins]:
    """Return the settings of a run with a batch for all processes together, as the origin of which stands autobatch.

    Args:
        config: a run whose batch is yet to be chosen.
        origins: where its values came from.
        data: its data.
        world: all processes take part.

    Raises:
        EnvironmentFault: not even the smallest batch fits on some process.
    """
    part, most, sizes = tried(config, len(data.train), world.size, on_cpu=world.device.type == "cpu")
    import torch._dynamo  # building an optimizer loads it, and it takes more memory than a small batch

    assert torch._dynamo is not None
    free_bytes = free_device_bytes(world.device) // sharers_of(world.device, world)
    world.barrier()  # nobody begins before all have seen what is free
    with world.together():
        if world.device.type not in ("cpu", "cuda") or free_bytes < 0:
            raise ConfigError("this device does not say what memory a step takes", "--batch", "-1", "give a number")
        measured = measure(config, data, world, sizes)
        room_bytes = round(SHARE * free_bytes)
        fits = measured.fitting(room_bytes, part)
        if config.micro_batch and fits:
            fits = most  # a pass never holds more than a micro-batch, which fits
        if not fits:
            raise _does_not_fit(measured, part, room_bytes)
    everywhere = [int(text) for text in world.gather_text(str(fits))]
    each = min(*everywhere, most)
    console.say(_described(measured, each, free_bytes, capped=min(everywhere) > most, world=world))
    return replace(config, batch=each * world.size), {**origins, "batch": AUTOBATCH}


def measure(config: TrainConfig, data: Data, world: World, sizes: Sequence[int]) -> Measured:
    """Return what steps of a run take on this process; leaves nothing behind, also where memory runs out.

    Args:
        config: the run.
        data: its data; only the names of the classes matter.
        world: device and precision.
        sizes: samples of the steps, ascending; the first that fails is the last.
    """
    steps = Steps(config, data.names, tuple(sizes), world.device, world.precision)
    # A GPU refuses memory without any harm; a second process would need a context of its own there.
    taken = tuple(taken_bytes(steps)) if world.device.type == "cuda" else tuple(taken_elsewhere(steps))
    failed = sizes[len(taken)] if len(taken) < len(sizes) else None
    return Measured(tuple(sizes[: len(taken)]), taken, failed)


def tried(config: TrainConfig, images: int, processes: int, *, on_cpu: bool) -> tuple[int, int, list[int]]:
    """Return, for one process: the number that its share is a multiple of, the most of it, and the sizes to try.

    The split bounds the batch, because others of its images would be seen twice in a step; on a CPU `--nominal-batch`
    does too: memory is seldom what is scarce there, and beyond it updates only become rarer.

    Args:
        config: the run.
        images: of the training split.
        processes: of the run.
        on_cpu: whether it trains on a CPU.
    """
    part = math.lcm(config.unit, max(config.bn_group, 1), max(config.micro_batch, 1))
    most = min(images, MOST_IMAGES * processes)
    if on_cpu:
        most = min(most, config.nominal_batch)
    most = max(most // processes // part, 1) * part
    if config.micro_batch:  # what a pass holds does not grow with the batch
        return part, most, [config.micro_batch]
    return part, most, [part * times for times in GROWTH if part * times <= most]


def _does_not_fit(measured: Measured, part: int, room_bytes: int) -> EnvironmentFault:
    value = amount(measured.taken_bytes[0]) if measured.taken_bytes else "memory ran out"
    value += f", {amount(room_bytes)} may be taken"
    remedy = "use a smaller --imgsz or model, or fewer processes on a device"
    images = "one image" if part == 1 else f"{part} images"
    return EnvironmentFault(f"not even a step of {images} fits into memory", "--batch -1", value, remedy)


def _described(measured: Measured, each: int, free_bytes: int, *, capped: bool, world: World) -> str:
    """Return one line: what was measured, what is free, the margin, and what was chosen."""
    pairs = zip(measured.sizes, measured.taken_bytes, strict=True)
    steps = ", ".join(f"{size}: {amount(taken)}" for size, taken in pairs)
    failed = f", {measured.failed}: out of memory" if measured.failed else ""
    shares = f", {each} on each of {world.size} processes" if world.size > 1 else ""
    margin = f"{SHARE:.0%} of {amount(free_bytes)} free for a process may be taken"
    why = f"{margin}, but more images are not useful" if capped else margin
    return f"Batch {each * world.size} chosen{shares}: memory of a step by its images {steps}{failed}; {why}"
