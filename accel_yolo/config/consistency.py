"""Settings of a training that exclude or need each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    if config.batch == AUTO_BATCH and config.bit_exact:
        # What fits depends on the processes and their memory, so the run would too.
        raise ConfigError("--bit-exact needs a batch", "--batch", "-1", "give a number, such as --batch 16")
    if config.bit_exact:
        _check_bit_exact(config)
    if config.sync_bn and config.bn_group:
        place = "--sync-bn and --bn-group"
        raise ConfigError("two kinds of BatchNorm", place, config.bn_group, "leave out one of them")
    _check_order(config)
    if config.quad:
        _check_quad(config)
    if config.augment_with and config.cache == "device":
        place, remedy = "--augment-with and --cache device", "use --cache without 'device'"
        raise ConfigError("your augmentation runs in the workers, which need the pixels", place, None, remedy)
    _check_kernels(config)
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
    if config.sync_bn or config.gradient_compression != "none":
        other = "--sync-bn" if config.sync_bn else "--gradient-compression"
        raise ConfigError("sums whose order depends on the processes", "--bit-exact", other, f"leave {other} out")
    if config.precision not in ("auto", "fp32"):
        raise ConfigError("--bit-exact works in fp32 only", "--precision", config.precision, "leave it out")
    _check_divides("micro-batches", config.batch, "--batch", config.micro_batch, "--micro-batch")
    if not config.micro_batch or config.micro_batch != config.bn_group:
        sizes = f"{config.micro_batch} and {config.bn_group}"
        place, remedy = "--micro-batch and --bn-group", "give the same number, or only one of them"
        raise ConfigError("--bit-exact needs one BatchNorm group per micro-batch", place, sizes, remedy)


def _check_order(config: TrainConfig) -> None:
    """Check that only one of the settings says in which order images come."""
    orders = (("--rect", config.rect), ("--image-weights", config.image_weights))
    chosen = [flag for flag, on in (*orders, ("--class-balanced", config.class_balanced)) if on]
    if len(chosen) > 1:
        place, remedy = " and ".join(chosen[:2]), "leave out one of them"
        raise ConfigError("two settings for the order of the images", place, None, remedy)


def _check_quad(config: TrainConfig) -> None:
    """Check that no unit of four samples would be split, and that workers render."""
    sizes = (("--batch", config.batch), ("--bn-group", config.bn_group), ("--micro-batch", config.micro_batch))
    for flag, size in sizes:
        if size != AUTO_BATCH and size % QUAD:
            remedy = f"give a multiple of {QUAD}, such as {-(-size // QUAD) * QUAD}"
            raise ConfigError(f"--quad makes one image of {QUAD} samples", flag, size, remedy)
    if config.cache == "device":
        remedy = "use --cache without 'device', or leave --quad out"
        raise ConfigError("--quad is rendered by the workers", "--quad and --cache device", None, remedy)


def _check_kernels(config: TrainConfig) -> None:
    """Check that what is made for one size, or for one pass of one process, gets that."""
    sizes = [name for name, on in (("--multi-scale", config.multi_scale), ("--rect", config.rect)) if on]
    passes = [
        name
        for name, on in (
            ("--micro-batch", config.micro_batch),
            ("--bn-group", config.bn_group),
            ("--sync-bn", config.sync_bn),
            ("--bit-exact", config.bit_exact),
        )
        if on
    ]
    if config.compile and sizes:
        raise ConfigError("--compile is for one image size", "--compile", sizes[0], "leave out one of them")
    if config.cuda_graphs and sizes:
        raise ConfigError("--cuda-graphs is for one image size", "--cuda-graphs", sizes[0], "leave out one of them")
    if config.cuda_graphs and passes:
        what = "--cuda-graphs records one forward pass of the whole share of a process"
        raise ConfigError(what, "--cuda-graphs", passes[0], "leave out one of them")


def _check_divides(what: str, whole: int, whole_flag: str, part: int, part_flag: str) -> None:
    if part and whole != AUTO_BATCH and whole % part:
        kind = whole_flag.removeprefix("--").replace("-", " ")
        place, values = f"{whole_flag} and {part_flag}", f"{whole} and {part}"
        raise ConfigError(
            f"the {kind} does not divide into {what}", place, values, f"give a {kind} that is a multiple of {part}"
        )
