"""Arms that take turns: a step of each, round by round, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import argparse
import datetime
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch

from accel_yolo import console
from accel_yolo.config.launch_schema import ProfileConfig
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import Data, open_data
from accel_yolo.engine.measure import training_config
from accel_yolo.engine.stepping import Stepper
from accel_yolo.engine.world import World
from accel_yolo.version import __version__

UNTIMED_ROUNDS = 2


def arguments_of(doc: str | None) -> argparse.Namespace:
    """Return what was typed: model, data, image size, batch of each process, rounds."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfg", default="yolov5n")
    parser.add_argument("--data", default="coco128")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch-per-process", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12)
    return parser.parse_args()


def started() -> World:
    """Return the world, on the CPU, one thread each, silent."""
    world = World.start("cpu", "fp32")
    console.quiet()
    torch.set_num_threads(1)
    return world


def training(arguments: argparse.Namespace, world: World, **changes: Any) -> TrainConfig:
    """Return a training in which every step is an update and nothing is learned."""
    asked = ProfileConfig(
        data=arguments.data, cfg=arguments.cfg, imgsz=arguments.imgsz, device="cpu", workers=0,
        batch_per_process=arguments.batch_per_process,
    )  # fmt: skip
    return replace(training_config(asked, world.size), **changes)


def opened(arguments: argparse.Namespace, world: World) -> Data:
    """Return the data."""
    return open_data(training(arguments, world), world)


def stepper_of(config: TrainConfig, data: Data, world: World) -> Stepper:
    """Return a training that takes steps on demand."""
    return Stepper(config, data, world, steps=1, most_val_images=1)


def seconds_in_turns(
    arms: Mapping[str, Callable[[], object]], stepper: Stepper, rounds: int
) -> dict[str, tuple[float, float]]:
    """Return for each arm the median seconds of the slowest process, and the median ratio to the first arm's turn.

    Args:
        arms: what to time, by name.
        stepper: knows the world and its device.
        rounds: turns of each.
    """
    names = list(arms)
    taken_s = np.zeros((rounds + UNTIMED_ROUNDS, len(names)))
    for number in range(len(taken_s)):
        order = names if number % 2 else names[::-1]
        for name in order:
            begin = stepper.now_together()
            arms[name]()
            taken_s[number, names.index(name)] = stepper.now() - begin
    size = stepper.world.size
    every = stepper.world.gather_rows(taken_s[UNTIMED_ROUNDS:]).reshape(size, rounds, len(names)).max(0)
    ratios = np.median(every / every[:, :1], 0)
    return {name: (float(np.median(every[:, n])), float(ratios[n])) for n, name in enumerate(names)}


def heading(arguments: argparse.Namespace, world: World) -> str:
    """Return the line above a table: what was measured on what."""
    what = f"{arguments.cfg}, {arguments.imgsz} px, batch {arguments.batch_per_process} on each process"
    where = f"{world.describe()}, {platform.machine()}"
    versions = f"torch {torch.__version__}, accelerate {accelerate.__version__}, accel_yolo {__version__}"
    data = Path(arguments.data).stem
    return f"{what}, images of {data}; {where}; {versions}; {datetime.date.today()}; {arguments.rounds} rounds"


def say(world: World, line: str) -> None:
    """Print on one process."""
    if world.is_leader:
        print(line, flush=True)
