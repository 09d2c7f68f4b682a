"""Prints what a training step costs next to the bare model, and how long it waits for data.

    python benchmarks/step_ratio.py [--data demo] [--imgsz 320] [--batch 16] [--rounds 20]

Arms are interleaved in one process, round by round, and medians compared: absolute times depend on the machine and on
what else runs there, ratios much less. The arms:

    bare     forward and backward of the detector alone on a ready batch (sum of the head outputs as loss)
    step     the step of the loop: batch to device, matching, loss, backward, clipping, SGD, weight average
    epoch    the same with the data path in front of it; the share of waiting is read from here
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import tempfile
import time
from pathlib import Path

import torch

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.batches import Batches, DeviceBatch, batch_loss
from accel_yolo.engine.build import Training, build_loaders, build_training, open_data
from accel_yolo.engine.schedule import Schedule
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.trainable import network_input
from accel_yolo.engine.world import World


def bare(training: Training, batch: DeviceBatch) -> None:
    """Forward and backward of the detector alone."""
    raws = training.detector(network_input(batch.parts[0].images, torch.float32))
    torch.stack([raw.float().mean() for raw in raws]).sum().backward()
    training.detector.zero_grad()


def step(training: Training, batch: DeviceBatch, world: World) -> None:
    """One step of the loop that ends in an update."""
    for part in training.gradient.micro_batches(batch, exchange=True):
        sums = training.model(part.images, part.entries, batch.size_hw)
        training.gradient.backward(batch_loss(sums, batch, training.loss), sums)
    norm = world.clip(training.model, 10.0)
    applied = world.apply(training.optimizer, norm)
    training.optimizer.zero_grad()
    training.ema.update(training.detector, applied=applied)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="demo")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    world = World.start()
    config = TrainConfig(
        data=arguments.data, weights="", cfg="yolov5n", imgsz=arguments.imgsz, batch=arguments.batch,
        workers=arguments.workers, noautoanchor=True, project=tempfile.mkdtemp(),
    )  # fmt: skip
    console.quiet()
    data = open_data(config, world)
    training = build_training(config, data, None, world)
    loader, _ = build_loaders(config, data, training, world)
    batches = Batches(loader, training.detector, Schedule(config, loader.steps_per_epoch), world)
    seconds: dict[str, list[float]] = {"bare": [], "step": []}
    waited = worked = 0.0
    started = time.perf_counter()
    for number, batch in enumerate(batches.steps(TrainState())):
        arms = [("bare", lambda b=batch: bare(training, b)), ("step", lambda b=batch: step(training, b, world))]
        for name, arm in arms if number % 2 else reversed(arms):
            begin = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - begin)
        if number >= arguments.rounds:
            break
    print(f"warm-up and {arguments.rounds} rounds took {time.perf_counter() - started:.0f} s")
    for number, batch in enumerate(batches.steps(TrainState())):
        begin = time.perf_counter()
        step(training, batch, world)
        if number:  # the first batch waits for the workers to start
            waited, worked = waited + batch.waited_s, worked + time.perf_counter() - begin
        if number >= arguments.rounds:
            break
    medians = {name: statistics.median(values[2:]) for name, values in seconds.items()}
    where = f"{world.describe()}, torch {torch.__version__}, {datetime.date.today()}"
    print(f"yolov5n, {arguments.imgsz} px, batch {arguments.batch}, {Path(arguments.data).stem}; {where}")
    print(f"bare model, forward + backward   {medians['bare'] * 1e3:8.1f} ms   1.00")
    print(f"training step                    {medians['step'] * 1e3:8.1f} ms   {medians['step'] / medians['bare']:.2f}")
    print(f"waiting for data                 {waited / (waited + worked):8.1%} of the time of an epoch")


if __name__ == "__main__":
    main()
