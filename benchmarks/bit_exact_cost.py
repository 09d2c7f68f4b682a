"""Prints what a step costs with --bit-exact, next to the fast mode with the same micro-batches and BatchNorm groups.

    python benchmarks/bit_exact_cost.py
    accelerate launch --config_file accelerate_configs/2cpu.yaml benchmarks/bit_exact_cost.py

The arms take turns, step by step, on a batch that is ready. The deterministic kernels of torch belong to --bit-exact.
"""

from __future__ import annotations

from functools import partial

import torch
import turns

from accel_yolo.engine.stepping import Stepper

MICRO_BATCHES = (2, 8)


def step(stepper: Stepper, deterministic: bool) -> None:
    """Take a step with the kernels of its mode."""
    torch.use_deterministic_algorithms(deterministic)
    stepper.step(stepper.ready, exchange=True)


def main() -> None:
    """Measure and print one table."""
    arguments = turns.arguments_of(__doc__)
    world = turns.started()
    data = turns.opened(arguments, world)
    steppers = {
        "fast, local batch in one pass": (turns.stepper_of(turns.training(arguments, world), data, world), False)
    }
    for size in MICRO_BATCHES:
        for exact in (False, True):
            changes = {"micro_batch": size, "bn_group": size, "bit_exact": exact}
            stepper = turns.stepper_of(turns.training(arguments, world, **changes), data, world)
            steppers[f"{'--bit-exact' if exact else 'fast'}, micro-batches of {size}"] = stepper, exact
    arms = {name: partial(step, stepper, exact) for name, (stepper, exact) in steppers.items()}
    some_stepper = next(iter(steppers.values()))[0]
    times = turns.seconds_in_turns(arms, some_stepper, arguments.rounds)
    turns.say(world, turns.heading(arguments, world))
    turns.say(
        world,
        "\n| mode | ms a step | to the fast mode in one pass | to the fast mode in such parts |\n|---|---|---|---|",
    )
    for name, (seconds, ratio) in times.items():
        fast_s = times.get(name.replace("--bit-exact", "fast"), (seconds, 1.0))[1]
        turns.say(world, f"| {name} | {seconds * 1e3:.0f} | {ratio:.2f} | {ratio / fast_s:.2f} |")
    world.end()


if __name__ == "__main__":
    main()
