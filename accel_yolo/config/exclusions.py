"""The settings of training that do not go together: what the check refuses, the help lists and the tests leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accel_yolo.config.settings import defaults_of, flag_of
from accel_yolo.errors import ConfigError

if TYPE_CHECKING:
    from accel_yolo.config.schema import TrainConfig

_SUMS = "sums whose order depends on the processes"
_ORDERS = "two settings for the order of the images"
_COMPILED, _RECORDED = "--compile is for one image size", "--cuda-graphs is for one image size"
_ONE_BY_ONE = "--debug-nan looks at modules one by one"
_ONE_PASS = "--cuda-graphs records one forward pass of the whole share of a process"


@dataclass(frozen=True)
class Exclusion:
    """Two settings that do not go together.

    Attributes:
        first, second: their names.
        why: in a few words.
        values: of the second one; () for all but its default.
    """

    first: str
    second: str
    why: str
    values: tuple[Any, ...] = ()

    @property
    def flags(self) -> str:
        """Both as they are typed."""
        second = flag_of(self.second) + (f" {' or '.join(map(str, self.values))}" if self.values else "")
        return f"{flag_of(self.first)} and {second}"


EXCLUSIONS = (
    Exclusion("bit_exact", "sync_bn", _SUMS),
    Exclusion("bit_exact", "gradient_compression", _SUMS),
    Exclusion("bit_exact", "precision", "--bit-exact works in fp32 only", ("fp16", "bf16")),
    Exclusion("bit_exact", "batch", "what fits into memory depends on the processes", (-1,)),
    Exclusion("sync_bn", "bn_group", "two kinds of BatchNorm"),
    Exclusion("rect", "image_weights", _ORDERS),
    Exclusion("rect", "class_balanced", _ORDERS),
    Exclusion("image_weights", "class_balanced", _ORDERS),
    Exclusion("quad", "cache", "--quad is rendered by the workers", ("device",)),
    Exclusion("augment_with", "cache", "your augmentation runs in the workers, which need the pixels", ("device",)),
    Exclusion("compile", "multi_scale", _COMPILED),
    Exclusion("compile", "rect", _COMPILED),
    Exclusion("debug_nan", "compile", _ONE_BY_ONE),
    Exclusion("debug_nan", "cuda_graphs", _ONE_BY_ONE),
    Exclusion("cuda_graphs", "multi_scale", _RECORDED),
    Exclusion("cuda_graphs", "rect", _RECORDED),
    Exclusion("cuda_graphs", "micro_batch", _ONE_PASS),
    Exclusion("cuda_graphs", "bn_group", _ONE_PASS),
    Exclusion("cuda_graphs", "sync_bn", _ONE_PASS),
    Exclusion("cuda_graphs", "bit_exact", _ONE_PASS),
)


def check_exclusions(config: TrainConfig) -> None:
    """Check that no two settings are on that do not go together. Raises ConfigError."""
    defaults = defaults_of(type(config))
    for each in EXCLUSIONS:
        first, second = getattr(config, each.first), getattr(config, each.second)
        is_on = second in each.values if each.values else second != defaults[each.second]
        if first != defaults[each.first] and is_on:
            raise ConfigError(each.why, each.flags, None, "leave out one of them")


def excluded_lines() -> list[str]:
    """Return the list for the help: one line for each reason, with the flags that it concerns."""
    reasons: dict[str, list[str]] = {}
    for each in EXCLUSIONS:
        reasons.setdefault(each.why, []).append(each.flags)
    return [f"{', '.join(flags)}: {why}" for why, flags in reasons.items()]
