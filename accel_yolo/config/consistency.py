"""Settings of a training that need each other, or exclude each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel_yolo.config.exclusions import check_exclusions
from accel_yolo.config.rules import AUTO_BATCH
from accel_yolo.errors import ConfigError

if TYPE_CHECKING:
    from accel_yolo.config.schema import TrainConfig

QUAD = 4
"""Samples of one image with `--quad`."""


def check_consistent(config: TrainConfig) -> None:
    """Check the combinations of settings. Raises ConfigError."""
    if not config.resume and not config.weights and not config.cfg:
        remedy = "give --cfg yolov5s.yaml to train from scratch"
        raise ConfigError("nothing to train", "--weights and --cfg", "both empty", remedy)
    check_exclusions(config)
    if config.bit_exact:
        _check_bit_exact(config)
    if config.quad:
        _check_quad(config)
    _check_divides("BatchNorm groups", config.batch, "--batch", config.bn_group, "--bn-group")
    _check_divides("BatchNorm groups", config.micro_batch, "--micro-batch", config.bn_group, "--bn-group")


def bit_exact_micro_batch(batch: int, unit: int = 1) -> int:
    """Return the micro-batch that `--bit-exact` takes when none is given: the largest divisor up to 8.

    Args:
        batch: samples of the global batch.
        unit: samples of one image; the micro-batch is a multiple of it where the batch is.
    """
    sizes = [size for size in range(1, 9) if batch % size == 0]
    return max([size for size in sizes if size % unit == 0] or sizes)


def _check_bit_exact(config: TrainConfig) -> None:
    _check_divides("micro-batches", config.batch, "--batch", config.micro_batch, "--micro-batch")
    if not config.micro_batch or config.micro_batch != config.bn_group:
        sizes = f"{config.micro_batch} and {config.bn_group}"
        place, remedy = "--micro-batch and --bn-group", "give the same number, or only one of them"
        raise ConfigError("--bit-exact needs one BatchNorm group per micro-batch", place, sizes, remedy)


def _check_quad(config: TrainConfig) -> None:
    """Check that no unit of four samples would be split."""
    sizes = (("--batch", config.batch), ("--bn-group", config.bn_group), ("--micro-batch", config.micro_batch))
    for flag, size in sizes:
        if size != AUTO_BATCH and size % QUAD:
            remedy = f"give a multiple of {QUAD}, such as {-(-size // QUAD) * QUAD}"
            raise ConfigError(f"--quad makes one image of {QUAD} samples", flag, size, remedy)


def _check_divides(what: str, whole: int, whole_flag: str, part: int, part_flag: str) -> None:
    if part and whole != AUTO_BATCH and whole % part:
        kind = whole_flag.removeprefix("--").replace("-", " ")
        place, values = f"{whole_flag} and {part_flag}", f"{whole} and {part}"
        raise ConfigError(
            f"the {kind} does not divide into {what}", place, values, f"give a {kind} that is a multiple of {part}"
        )
