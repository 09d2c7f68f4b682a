"""From the rows of a model YAML to layers: an explicit table of names; text is never evaluated.

A row is [from, repeats, module, args]. `from` is -1 for the previous layer, another negative number counted back,
an absolute layer number, or a list of those. Channel numbers are scaled by the width multiple, repeats by the
depth multiple.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from accel_yolo.errors import ConfigError, did_you_mean
from accel_yolo.models import blocks, light_blocks
from accel_yolo.models.activations import parsed_activation
from accel_yolo.models.heads import Detect

MAX_CHANNELS = 1 << 16
MAX_BLOCKS = 250
"""Of all layers together, repeats counted."""

LATER = {
    "Segment": "segmentation is not available yet",
    "Classify": "classification is not available yet",
    "BottleneckCSP": "models of YOLOv5 v1 to v3 are not supported; use C3",
}


@dataclass(frozen=True)
class Graph:
    """The layers in order and, for each, the layers it reads (-1 is the image)."""

    layers: list[nn.Module]
    sources: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class LayerCall:
    """What a builder may use: input channels, scaled repeats, checked arguments, and the numbers of the model."""

    channels: tuple[int, ...]
    repeats: int
    args: tuple[Any, ...]
    scale: Callable[[Any], int]
    nc: int
    anchors_per_level: int

    def only_input(self) -> int:
        """Return the channels of the single input."""
        if len(self.channels) != 1:
            raise ValueError("takes one input, not a list")
        return self.channels[0]

    def check_once(self) -> None:
        """Refuse repeats, which would change sizes or mean nothing."""
        if self.repeats != 1:
            raise ValueError("takes no repeats")


Builder = Callable[[LayerCall], tuple[nn.Module, int]]


def build_graph(spec: Mapping[str, Any], nc: int, anchors_per_level: int, where: str) -> Graph:
    """Return the layers that `spec` describes, for `nc` classes.

    Raises:
        ConfigError: naming `where`, the layer and the value: unknown module, wrong arguments, a `from` that is
            no earlier layer, no or more than one Detect, Detect not last.
    """
    rows = [*spec["backbone"], *spec["head"]]
    scale = partial(
        scaled_channels, width_multiple=spec.get("width_multiple", 1.0), multiple=spec.get("channel_multiple", 8)
    )
    layers: list[nn.Module] = []
    sources: list[tuple[int, ...]] = []
    channels: list[int] = []
    blocks_so_far = 0
    for index, row in enumerate(rows):
        place = f"{where}, layer {index}"
        origin, repeats, name, args = _parsed_row(row, place)
        reads = tuple(_source(number, index, place) for number in origin)
        inputs = tuple(spec.get("ch", 3) if source < 0 else channels[source] for source in reads)
        count = scaled_repeats(repeats, spec.get("depth_multiple", 1.0), place)
        blocks_so_far += count
        if blocks_so_far > MAX_BLOCKS:
            raise ConfigError("too many blocks", place, f"{blocks_so_far} so far", f"at most {MAX_BLOCKS}")
        call = LayerCall(inputs, count, _parsed_args(args, nc, place), scale, nc, anchors_per_level)
        layer, c_out = _built(name, call, place)
        if c_out > MAX_CHANNELS:
            raise ConfigError("too many channels", place, c_out, f"at most {MAX_CHANNELS}")
        layers.append(layer)
        sources.append(reads)
        channels.append(c_out)
    heads = [index for index, layer in enumerate(layers) if isinstance(layer, Detect)]
    if heads != [len(layers) - 1]:
        raise ConfigError("a model has one Detect, as its last layer", where, f"Detect at layers {heads}")
    make = parsed_activation(spec.get("activation"), where)
    if make is not None:
        for layer in layers:
            blocks.set_activation(layer, make)
    return Graph(layers, tuple(sources))


def scaled_channels(base: Any, width_multiple: float, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `base` * `width_multiple`."""
    if isinstance(base, bool) or not isinstance(base, int) or base < 1:
        raise ValueError(f"output channels must be a whole number above 0, not {base!r}")
    channels = math.ceil(base * width_multiple / multiple) * multiple
    if channels > MAX_CHANNELS:
        raise ValueError(f"{channels} output channels, at most {MAX_CHANNELS}")
    return channels


def scaled_repeats(repeats: Any, depth_multiple: float, where: str = "") -> int:
    """Return `repeats` times the depth multiple, rounded half to even, at least 1; a listed 1 stays 1."""
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ConfigError("repeats must be a whole number above 0", where, repr(repeats))
    return max(round(repeats * depth_multiple), 1) if repeats > 1 else 1


def _parsed_row(row: Any, where: str) -> tuple[list[Any], Any, str, list[Any]]:
    if not isinstance(row, list) or len(row) != 4:
        raise ConfigError("a layer is [from, repeats, module, args]", where, repr(row)[:80])
    origin, repeats, name, args = row
    if not isinstance(name, str) or not isinstance(args, list):
        raise ConfigError("a layer is [from, repeats, module, args]", where, repr(row)[:80])
    return (origin if isinstance(origin, list) else [origin]), repeats, name, args


def _source(number: Any, index: int, where: str) -> int:
    """Return the absolute number of the layer that layer `index` reads; -1 is the image."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise ConfigError("'from' must be a layer number or a list of them", where, repr(number))
    source = index + number if number < 0 else number
    if source == index - 1 == -1:
        return -1
    if not 0 <= source < index:
        raise ConfigError("'from' names no earlier layer", where, number, f"layers 0 to {index - 1} exist there")
    return source


def _parsed_args(args: list[Any], nc: int, where: str) -> tuple[Any, ...]:
    words = {"nc": nc, "anchors": "anchors", "None": None, "True": True, "False": False}
    parsed = []
    for value in args:
        if isinstance(value, str):
            value = words.get(value, value.strip("'\""))
        elif isinstance(value, list) and all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            value = tuple(value)
        elif value is not None and not isinstance(value, (bool, int, float)) and not _is_anchor_list(value):
            raise ConfigError(
                "a layer argument must be a number, a word or a list of whole numbers", where, repr(value)
            )
        parsed.append(value)
    return tuple(parsed)


def _is_anchor_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) for item in value)


def _built(name: str, call: LayerCall, where: str) -> tuple[nn.Module, int]:
    builder = BUILDERS.get(name)
    if builder is None:
        if name in LATER:
            raise ConfigError("unsupported module", where, name, LATER[name])
        remedy = did_you_mean(name, BUILDERS) or "known modules: " + " ".join(sorted(BUILDERS))
        raise ConfigError("unknown module", where, name, remedy)
    try:
        return builder(call)
    except (TypeError, ValueError, RuntimeError, IndexError, ZeroDivisionError, AssertionError) as error:
        reason = str(error).split("\n")[0].replace("__init__()", "it")
        raise ConfigError(f"cannot build {name}", where, f"args {list(call.args)}, {reason}") from error


def _scaled(block: Callable[..., nn.Module]) -> Builder:
    """A module whose first argument is output channels; repeats give a sequence of copies."""

    def build(call: LayerCall) -> tuple[nn.Module, int]:
        c_in, rest = call.only_input(), _numbers(call.args[1:])
        c_out = call.scale(call.args[0])
        copies = [block(c_in if copy == 0 else c_out, c_out, *rest) for copy in range(call.repeats)]
        return (copies[0] if len(copies) == 1 else nn.Sequential(*copies)), c_out

    return build


def _scaled_csp(block: Callable[..., nn.Module]) -> Builder:
    """A cross-stage block: repeats are its inner count."""

    def build(call: LayerCall) -> tuple[nn.Module, int]:
        c_out = call.scale(call.args[0])
        return block(call.only_input(), c_out, call.repeats, *_numbers(call.args[1:])), c_out

    return build


def _unscaled(block: Callable[..., nn.Module], channels: Callable[..., int] = lambda c, *_: c) -> Builder:
    """A module without a channel argument; `channels` maps its input channels and arguments to output channels."""

    def build(call: LayerCall) -> tuple[nn.Module, int]:
        call.check_once()
        return block(*_numbers(call.args)), channels(call.only_input(), *call.args)

    return build


def _numbers(args: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in args:
        if isinstance(value, (str, list)):
            raise ValueError(f"{value!r} is not a number")
    return args


def _upsample(call: LayerCall) -> tuple[nn.Module, int]:
    call.check_once()
    size, factor, mode = call.args
    if size is not None or factor not in (2, 4, 8) or mode not in ("nearest", "bilinear", "bicubic"):
        raise ValueError("expected [None, 2, nearest]")
    return nn.Upsample(scale_factor=factor, mode=mode), call.only_input()


def _concat(call: LayerCall) -> tuple[nn.Module, int]:
    call.check_once()
    if call.args not in ((), (1,)):
        raise ValueError("only dimension 1, the channels, can be joined")
    return blocks.Concat(1), sum(call.channels)


def _detect(call: LayerCall) -> tuple[nn.Module, int]:
    call.check_once()
    if len(call.args) > 2:
        raise ValueError("expected [nc, anchors]")
    return Detect(call.nc, call.anchors_per_level, call.channels), 0


BUILDERS: dict[str, Builder] = {
    "Conv": _scaled(blocks.Conv),
    "DWConv": _scaled(blocks.DWConv),
    "CrossConv": _scaled(blocks.CrossConv),
    "Focus": _scaled(blocks.Focus),
    "Bottleneck": _scaled(blocks.Bottleneck),
    "SPP": _scaled(blocks.SPP),
    "SPPF": _scaled(blocks.SPPF),
    "GhostConv": _scaled(light_blocks.GhostConv),
    "GhostBottleneck": _scaled(light_blocks.GhostBottleneck),
    "nn.ConvTranspose2d": _scaled(nn.ConvTranspose2d),
    "C3": _scaled_csp(blocks.C3),
    "C3x": _scaled_csp(blocks.C3x),
    "C3Ghost": _scaled_csp(light_blocks.C3Ghost),
    "C3TR": _scaled_csp(light_blocks.C3TR),
    "Contract": _unscaled(blocks.Contract, lambda c, gain=2: c * gain**2),
    "Expand": _unscaled(blocks.Expand, lambda c, gain=2: c // gain**2),
    "nn.Identity": _unscaled(nn.Identity),
    "nn.MaxPool2d": _unscaled(nn.MaxPool2d),
    "nn.ZeroPad2d": _unscaled(nn.ZeroPad2d),
    "nn.Upsample": _upsample,
    "Concat": _concat,
    "Detect": _detect,
}
