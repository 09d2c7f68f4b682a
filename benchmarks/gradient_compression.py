"""Prints what --gradient-compression changes: the gradient, the bytes that are sent, the time of a step.

    accelerate launch --config_file accelerate_configs/2cpu.yaml benchmarks/gradient_compression.py

Equal weights and equal batches; the kinds take turns, step by step. The processes share one machine: what is saved on
a network is not in these times.
"""

from __future__ import annotations

from functools import partial

import torch
import turns
from torch import Tensor

from accel_yolo.engine.batches import batch_loss
from accel_yolo.engine.stepping import Stepper

BYTES = {"none": 4, "bf16": 2, "fp16": 2}


def exchanged_gradient(stepper: Stepper) -> list[Tensor]:
    """Return the gradient of the ready batch after its exchange, one tensor for each parameter."""
    training, batch = stepper.training, stepper.ready
    for part in training.gradient.micro_batches(batch, exchange=True):
        sums = training.model(part.images, part.entries, batch.size_hw)
        training.gradient.backward(batch_loss(sums, batch, training.loss), sums)
    gradient = [p.grad.double().clone() for p in training.detector.parameters() if p.grad is not None]
    training.optimizer.zero_grad()
    return gradient


def differences(gradient: list[Tensor], exact: list[Tensor]) -> tuple[float, float]:
    """Return the relative L2 difference of the whole gradient, and that of the tensor that differs most."""
    apart = [(mine - theirs).norm() for mine, theirs in zip(gradient, exact, strict=True)]
    norms = [theirs.norm() for theirs in exact]
    whole = torch.stack(apart).norm() / torch.stack(norms).norm()
    worst = max(float(difference / norm) for difference, norm in zip(apart, norms, strict=True) if norm > 0)
    return float(whole), worst


def main() -> None:
    """Measure and print one table."""
    arguments = turns.arguments_of(__doc__)
    world = turns.started()
    data = turns.opened(arguments, world)
    steppers = {}
    for kind in BYTES:
        world.compute_in("fp32", kind)  # the exchange is chosen when the model is prepared
        steppers[kind] = turns.stepper_of(turns.training(arguments, world, gradient_compression=kind), data, world)
    gradients = {kind: exchanged_gradient(stepper) for kind, stepper in steppers.items()}
    arms = {kind: partial(stepper.step, stepper.ready, exchange=True) for kind, stepper in steppers.items()}
    times = turns.seconds_in_turns(arms, steppers["none"], arguments.rounds)
    count = sum(gradient.numel() for gradient in gradients["none"])
    turns.say(world, turns.heading(arguments, world))
    columns = "compression | bytes of a gradient | relative L2 difference | of the worst tensor | ms a step | ratio"
    turns.say(world, f"\n| {columns} |\n|---|---|---|---|---|---|")
    for kind, (seconds, ratio) in times.items():
        whole, worst = differences(gradients[kind], gradients["none"])
        megabytes = f"{count * BYTES[kind] / 1e6:.2f} MB"
        turns.say(world, f"| {kind} | {megabytes} | {whole:.1e} | {worst:.1e} | {seconds * 1e3:.0f} | {ratio:.2f} |")
    world.end()


if __name__ == "__main__":
    main()
