"""The parts of accel_yolo that are compared: the one place of the comparison that knows its classes."""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from served_turns import Turn, own_memory_bytes

from accel_yolo import console
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.loader import HostBatch, TrainLoader
from accel_yolo.data.packed import ChosenImages, DecodedImages, Packing
from accel_yolo.data.partners import PartnerGroups
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.render_cpu import Load
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.subsets import some_images
from accel_yolo.data.workers import Workers
from accel_yolo.engine.batches import Batches, DeviceBatch, batch_loss
from accel_yolo.engine.build import Data, open_data
from accel_yolo.engine.memory import Memory
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.stepping import Stepper
from accel_yolo.engine.world import World

GROUP = 16
"""Images of a partner group in the decode-once arms: what --decode-once alone takes."""


class Ours:
    """What all parts need: world, configuration, data.

    Args:
        arguments: what the driver was told, see our_driver.py.
    """

    def __init__(self, arguments: Namespace) -> None:
        self.arguments = arguments
        self.world = World.start(arguments.device, arguments.precision)
        console.quiet()
        self.config = TrainConfig(
            weights=arguments.weights, cfg=f"yolov5{arguments.size}", data=arguments.data, imgsz=arguments.imgsz,
            batch=arguments.batch, nominal_batch=arguments.batch, epochs=1, noautoanchor=True,
            workers=arguments.workers, device=arguments.device, hyp=Hyp(lr0=0.001, warmup_epochs=0),
        )  # fmt: skip

    def wait_for_device(self) -> None:
        """Return when the device is idle."""
        if self.world.device.type == "cuda":
            torch.cuda.synchronize()

    def data(self) -> Data:
        """Return the index of the data."""
        return open_data(self.config, self.world)

    def loader(self, workers: int) -> TrainLoader:
        """Return the training loader with the cache, partners and place of the colours that were asked for."""
        arguments, own = self.arguments, self.data().train
        # Small data sets are repeated, so that a loop need not begin anew, with nothing rendered ahead, all the time.
        numbers = np.tile(np.arange(len(own)), arguments.repeat)
        index = some_images(own, numbers)
        groups = PartnerGroups(len(index), arguments.batch, GROUP) if arguments.decode_once else None
        source = PlanSource(index.sizes_hw, arguments.imgsz, self.config.hyp, groups=groups)
        load: Load = DecodedImages(own, arguments.imgsz, augmenting=True)
        if arguments.cache == "packed":
            folder = Path(arguments.cache_dir)
            load = Packing.of(own, arguments.imgsz, augmenting=True, folder=folder).open(workers=2)
        samples = TrainSamples(index, source, 0, ChosenImages(load, numbers), colour=arguments.colour == "loader")
        ways = Workers(workers, pin_memory=self.world.device.type == "cuda")
        return TrainLoader(samples, arguments.batch, range(arguments.batch), ways)

    def stepper(self) -> Stepper:
        """Return a training that takes steps on demand."""
        return Stepper(replace(self.config, workers=0), self.data(), self.world, steps=1, most_val_images=1)


def loader(ours: Ours) -> Turn:
    """Return a turn: an epoch of batches, made in this process."""
    source, epochs = ours.loader(0), itertools.count()

    def turn() -> dict[str, Any]:
        return {"images": sum(len(batch.images) for batch in source.epoch(next(epochs)))}

    return turn


class _Given:
    """Stands in for a loader: batches that are there already; an epoch goes on where the last one ended."""

    def __init__(self, batches: list[HostBatch], steps_per_epoch: int) -> None:
        self.pieces, self._batches, self._steps = [range(len(batches[0].images))], batches, steps_per_epoch

    def epoch(self, epoch: int, class_ap: tuple[float, ...] = ()) -> Iterator[HostBatch]:
        first = epoch * self._steps % len(self._batches)
        return itertools.cycle(self._batches[first:] + self._batches[:first])


def steps_on(stepper: Stepper, source: Any) -> Iterator[DeviceBatch]:
    """Yield device batches of a loader for ever."""
    batches = Batches(source, stepper.training.detector, stepper.schedule, stepper.world)
    for epoch in itertools.count():
        yield from batches.steps(TrainState(epoch=epoch))


def random_batch(count: int, imgsz: int) -> HostBatch:
    """Return random pixels with 20 boxes an image, those that the reference's driver draws."""
    draw = np.random.default_rng(0)
    images = torch.from_numpy(draw.integers(0, 256, (count, imgsz, imgsz, 3), dtype=np.uint8))
    columns = [np.repeat(np.arange(count), 20)[:, None], draw.integers(0, 80, (20 * count, 1))]
    columns += [draw.random((20 * count, 2)), draw.random((20 * count, 2)) * 0.3 + 0.02]
    return HostBatch(images, np.concatenate(columns, 1).astype(np.float32), tuple(range(count)))


def step(ours: Ours) -> Turn:
    """Return a turn: steps on a fixed batch, matching of the boxes included."""
    stepper, size = ours.stepper(), ours.world.size
    share = ours.arguments.batch // size
    given = _Given([random_batch(share, ours.arguments.imgsz)], stepper.schedule.steps_per_epoch)
    batches = steps_on(stepper, given)

    def turn() -> dict[str, Any]:
        for _ in range(ours.arguments.steps):
            stepper.step(next(batches), exchange=not ours.arguments.apart)
        return {"images": ours.arguments.steps * ours.arguments.batch, **_device_memory(ours.world)}

    return turn


def loop(ours: Ours) -> Turn:
    """Return a turn: an epoch of batches of worker processes, each followed by a step, real or of fixed length.

    The wait for the first batch of a turn, when nothing is rendered ahead, is told apart.
    """
    arguments, source, epochs = ours.arguments, ours.loader(ours.arguments.workers), itertools.count()
    stepper = ours.stepper() if arguments.part == "loop" else None
    batches = steps_on(stepper, source) if stepper else None

    def turn() -> dict[str, Any]:
        waits, images = [], 0
        if stepper and batches:
            for batch in itertools.islice(batches, source.steps_per_epoch):
                stepper.step(batch, exchange=True)
                images += batch.local_images
                waits.append(batch.waited_s)
            return {"images": images, "waited_s": sum(waits[1:]), **_device_memory(ours.world)}
        asked = time.perf_counter()
        for batch in source.epoch(next(epochs)):
            waits.append(time.perf_counter() - asked)
            images += len(batch.images)
            time.sleep(arguments.step_ms_per_image / 1e3 * len(batch.images))
            asked = time.perf_counter()
        return {"images": images, "waited_s": sum(waits[1:]), "first_s": waits[0]}

    return turn


def memory(ours: Ours) -> Turn:
    """Return a turn: what this process alone holds after it has read the whole set."""
    epoch = loader(ours)
    return lambda: {**epoch(), "own_bytes": own_memory_bytes()}


def curve(ours: Ours) -> Turn:
    """Return a turn: the losses of steps on the batches of a file."""
    stepper, stored = ours.stepper(), np.load(ours.arguments.batches)
    names = [str(name) for name in stored["order"][: ours.arguments.steps]]
    held = {name: _stored(stored, name) for name in set(names)}
    hosts = [held[name] for name in names]
    batches = steps_on(stepper, _Given(hosts, stepper.schedule.steps_per_epoch))
    options = stepper.training.loss

    def turn() -> dict[str, Any]:
        losses = []
        for _ in hosts:
            batch = next(batches)
            stepper.step(batch, exchange=True)
            loss = batch_loss(stepper.training.gradient.sums, batch, options)
            losses.append(float(loss) / batch.global_images)
        return {"losses": losses}

    return turn


def write_batches(ours: Ours, file: Path, seed: int) -> None:
    """Write an epoch of batches and an order of steps over them, for `curve`."""
    images, targets = {}, {}
    for name, batch in enumerate(ours.loader(0).epoch(0)):
        images[f"images{name}"] = batch.images.numpy().copy()  # the loader writes over them
        targets[f"targets{name}"] = batch.targets
    draw = np.random.default_rng(seed)
    count = len(images)
    order = np.concatenate([draw.permutation(count) for _ in range(-(-ours.arguments.steps // count))])
    np.savez(file, allow_pickle=False, order=order, **images, **targets)


def _stored(stored: Any, name: str) -> HostBatch:
    images = torch.from_numpy(stored[f"images{name}"])
    return HostBatch(images, stored[f"targets{name}"], tuple(range(len(images))))


def _device_memory(world: World) -> dict[str, Any]:
    on_gpu = world.device.type == "cuda"
    return {"peak_bytes": Memory.of(world.device).tensors_bytes} if on_gpu else {}


PARTS = {"loader": loader, "step": step, "waiting": loop, "loop": loop, "memory": memory, "curve": curve}
