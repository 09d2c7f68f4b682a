"""Learning rates, momentum, accumulation and image size as pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.order import Stream, generator
from accel_yolo.errors import ConfigError

MOST_STEPS = 10**8 - 1
"""More is a typing error: each step takes a byte of memory, and a checkpoint has eight digits for it in its name."""


@dataclass(frozen=True)
class Knobs:
    """What one step is run with.

    Attributes:
        lr_bias, lr_weight: learning rates of biases and of everything else.
        momentum: SGD momentum; Adam keeps its own betas.
        is_update: the optimizer steps after this step.
    """

    lr_bias: float
    lr_weight: float
    momentum: float
    is_update: bool

    def apply_to(self, optimizer: torch.optim.Optimizer) -> Knobs:
        """Write the values into the optimizer's groups and return self."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr_bias if group["name"] == "bias" else self.lr_weight
            if "momentum" in group:
                group["momentum"] = self.momentum
        return self


class Schedule:
    """The schedule of a whole run: `at(step)` needs nothing but the step.

    Args:
        config: the run.
        steps_per_epoch: steps of an epoch.
        shift: what the steps of the run are ahead of those of this schedule: see `TrainState.shift`.

    Raises:
        ConfigError: the run has more steps than there is room for.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int, shift: int = 0) -> None:
        self.config, self.shift = config, shift
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = steps_per_epoch * config.epochs
        self.warmup_steps = max(round(config.hyp.warmup_epochs * steps_per_epoch), config.warmup_min_steps)
        if config.hyp.warmup_epochs <= 0:
            self.warmup_steps = 0
        if self.total_steps > MOST_STEPS:
            raise ConfigError("a run of too many steps", "--epochs", config.epochs, f"at most {MOST_STEPS:,} steps fit")
        self.is_update = self._update_table()

    def factor(self, epoch: int) -> float:
        """Return the share of `lr0` of an epoch: linear or cosine, from 1 to `lrf`."""
        lrf, done = self.config.hyp.lrf, epoch / self.config.epochs
        if self.config.cos_lr:
            return (1 - math.cos(math.pi * done)) / 2 * (lrf - 1) + 1
        return (1 - done) * (1 - lrf) + lrf

    def accumulation(self, step: int) -> int:
        """Return how many steps make one update at this point: 1 at the start of warm-up, nominal/batch after."""
        ratio = self.config.nominal_batch / self.config.batch
        if self.warmup_steps and step <= self.warmup_steps:
            return max(1, round(1 + (ratio - 1) * step / self.warmup_steps))
        return max(1, round(ratio))

    def at(self, step: int) -> Knobs:
        """Return the knobs of a step, counted from 0 over the whole run."""
        step -= self.shift
        hyp, epoch = self.config.hyp, step // self.steps_per_epoch
        if self.warmup_steps and step <= self.warmup_steps:
            share, target = step / self.warmup_steps, hyp.lr0 * self.factor(epoch)
            return Knobs(
                lr_bias=hyp.warmup_bias_lr + (target - hyp.warmup_bias_lr) * share,
                lr_weight=target * share,
                momentum=hyp.warmup_momentum + (hyp.momentum - hyp.warmup_momentum) * share,
                is_update=bool(self.is_update[step]),
            )
        # Outside warm-up an epoch runs at the factor of the one before it; the epoch in which warm-up ends keeps
        # its own. Kept, because published recipes were tuned with it.
        warm = self.warmup_steps // self.steps_per_epoch if self.warmup_steps else -1
        lr = hyp.lr0 * self.factor(epoch if epoch == warm else max(epoch - 1, 0))
        return Knobs(lr_bias=lr, lr_weight=lr, momentum=hyp.momentum, is_update=bool(self.is_update[step]))

    def left(self, step: int) -> int:
        """Return how many steps are left when `step` steps of the run are done."""
        return self.total_steps - (step - self.shift)

    def within_epoch(self, step: int) -> int:
        """Return how many steps of its epoch are done when `step` steps of the run are."""
        return (step - self.shift) % self.steps_per_epoch

    def image_size(self, step: int, stride: int) -> int:
        """Return the image size in px of a step, the same on every process: multi-scale draws it from the step."""
        imgsz = self.config.imgsz
        if not self.config.multi_scale:
            return imgsz
        step -= self.shift
        draw = generator(self.config.seed, 0, step, Stream.MULTI_SCALE).integers(imgsz // 2, imgsz * 3 // 2 + stride)
        return max(int(draw) // stride * stride, stride)

    def _update_table(self) -> np.ndarray:
        """Return [total_steps] bool: where the optimizer steps. The last step of an epoch always does.

        No gradient is thrown away at the end of an epoch: a short rest makes an update of its own, but a rest of at
        most half a window joins the window before it, because an update from so few images is mostly noise.
        """
        table = np.zeros(self.total_steps, dtype=bool)
        last = -1
        for step in range(self.total_steps):
            rest = self.steps_per_epoch - 1 - step % self.steps_per_epoch
            wanted = self.accumulation(step)
            if rest == 0 or (step - last >= wanted and rest > wanted / 2):
                table[step], last = True, step
        return table


def decayed(config: TrainConfig) -> float:
    """Return the weight decay of an update, scaled for batches that do not divide the nominal batch."""
    accumulation = max(round(config.nominal_batch / config.batch), 1)
    return config.hyp.weight_decay * config.batch * accumulation / config.nominal_batch
