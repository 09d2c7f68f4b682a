"""How a global batch is dealt out to the processes."""

from __future__ import annotations

from accel_yolo.config.schema import TrainConfig
from accel_yolo.data.order import micro_batches, share
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError


def dealt_out(config: TrainConfig, world: World) -> tuple[range, list[range]]:
    """Return the places of the global batch that this process works on, and their micro-batches, counted from 0.

    Places are those of images as the network sees them: with `--quad` each of them is four samples.

    Raises:
        ConfigError: the batch cannot be dealt out so.
    """
    unit = config.unit
    samples = share(config.batch, world.rank, world.size, max(config.bn_group, unit))
    places = range(samples.start // unit, samples.stop // unit)
    images, micro_batch, group = config.batch // unit, config.micro_batch // unit, max(config.bn_group // unit, 1)
    # A BatchNorm over all processes makes them meet in every forward pass: all must have the same number of them.
    meet = config.sync_bn and world.size > 1
    largest = range(-(-images // group // world.size) * group)
    parts = len(micro_batches(largest, micro_batch, group)) if meet else 1
    if meet and images // world.size < parts:
        remedy = f"use a --batch that is a multiple of {world.size}, or a larger --micro-batch"
        raise ConfigError("micro-batches of unequal number with --sync-bn", "--micro-batch", config.micro_batch, remedy)
    return places, micro_batches(range(len(places)), micro_batch, group, parts)
