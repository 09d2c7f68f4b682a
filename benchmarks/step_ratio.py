"""Prints what a training step costs next to the bare model, and how long it waits for data.

    python benchmarks/step_ratio.py --data demo

Arms take turns in one process and medians are compared: absolute times depend on the machine and on what else runs
there, ratios much less. The arms:

    bare     forward and backward of the detector alone on a ready batch (sum of the head outputs as loss)
    step     the step of the training loop on the same batch: loss, backward, clipping, SGD, weight average
    loop     the same with the data path and the matching in front of it; the share of waiting is read from here
"""

from __future__ import annotations

import time

import torch
import turns

from accel_yolo import console
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.stepping import Stepper
from accel_yolo.engine.world import World
from accel_yolo.models.network_input import network_input


def bare(stepper: Stepper) -> None:
    """Forward and backward of the detector alone."""
    detector = stepper.training.detector
    raws = detector(network_input(stepper.ready.parts[0].images, torch.float32))
    torch.stack([raw.float().mean() for raw in raws]).sum().backward()
    detector.zero_grad()


def waiting_share(stepper: Stepper, rounds: int) -> float:
    """Return the share of the time of the loop that goes into waiting for data."""
    steps = stepper.batches.steps(TrainState())
    stepper.step(next(steps), exchange=True)  # the first batch waits for the workers to start
    started, waited_s = time.perf_counter(), 0.0
    for _, batch in zip(range(rounds), steps, strict=False):
        stepper.step(batch, exchange=True)
        waited_s += batch.waited_s
    return waited_s / (time.perf_counter() - started)


def main() -> None:
    """Measure and print one table."""
    arguments = turns.arguments_of(__doc__)
    world = World.start()
    console.quiet()
    config = turns.training(arguments, world, workers=1)
    stepper = turns.stepper_of(config, turns.opened(arguments, world), world)
    arms = {"bare": lambda: bare(stepper), "step": lambda: stepper.step(stepper.ready, exchange=True)}
    times = turns.seconds_in_turns(arms, stepper, arguments.rounds)
    share = waiting_share(stepper, arguments.rounds)
    print(turns.heading(arguments, world))
    print(f"bare model, forward + backward   {times['bare'][0] * 1e3:8.1f} ms   1.00")
    print(f"training step                    {times['step'][0] * 1e3:8.1f} ms   {times['step'][1]:.2f}")
    print(f"waiting for data                 {share:8.1%} of the time of the loop")


if __name__ == "__main__":
    main()
