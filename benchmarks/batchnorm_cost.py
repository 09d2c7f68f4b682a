"""Prints what a step costs with each kind of BatchNorm: over the local batch, over groups, over all processes.

    accelerate launch --config_file accelerate_configs/2cpu.yaml benchmarks/batchnorm_cost.py

The kinds take turns, step by step, on a batch that is ready.
"""

from __future__ import annotations

from functools import partial

import turns


def main() -> None:
    """Measure and print one table."""
    arguments = turns.arguments_of(__doc__)
    world = turns.started()
    data = turns.opened(arguments, world)
    kinds = {"local batch (default)": {}, "groups of 8 (--bn-group 8)": {"bn_group": 8}, "--sync-bn": {"sync_bn": True}}
    steppers = {
        name: turns.stepper_of(turns.training(arguments, world, **changes), data, world)
        for name, changes in kinds.items()
    }
    arms = {name: partial(stepper.step, stepper.ready, exchange=True) for name, stepper in steppers.items()}
    times = turns.seconds_in_turns(arms, next(iter(steppers.values())), arguments.rounds)
    turns.say(world, turns.heading(arguments, world))
    turns.say(world, "\n| BatchNorm | ms a step | ratio |\n|---|---|---|")
    for name, (seconds, ratio) in times.items():
        turns.say(world, f"| {name} | {seconds * 1e3:.0f} | {ratio:.2f} |")
    world.end()


if __name__ == "__main__":
    main()
