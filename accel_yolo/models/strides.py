"""How many input pixels a cell of each output level covers: measured with a black image, at a bounded cost.

An architecture may come from a stranger's file: a few numbers describe a network that would take hours or all memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from accel_yolo.errors import ConfigError
from accel_yolo.models.blocks import Concat

SIDE_PX = 256

MOST_WORK = 1 << 35
"""Multiplications that are done for it, which the largest published model needs half of. What needs more is measured
without numbers (torch's meta device), for which torch first loads its compiler and an algebra system: over a second."""

_PER_NUMBER = 128
"""Multiplications that a number in memory counts for: `MOST_WORK` allows a GiB of float32."""

_PER_CALL = 1 << 23
"""Those that calling a module counts for: it takes time though it may do nothing."""

_ORDINARY_KERNEL, _RARE_KERNEL_FACTOR = 7, 64


_WRONG = (RuntimeError, ArithmeticError, TypeError, ValueError, IndexError, AttributeError)
"""What modules raise for arguments and inputs that they cannot work with."""


class _OddSize(ValueError):
    """An argument has a value for each of three axes: without numbers torch would not mind."""


class _TooMuchWork(Exception):
    """The network needs more than it is worth."""


def measured_strides(network: nn.Module, layers: nn.Sequential, channels: int, where: str) -> tuple[int, ...]:
    """Return input pixels per output cell of each level.

    Args:
        network: returns [B, C, H, W] for each level.
        layers: of the network; an error names the one that was reached.
        channels: of the image.
        where: name of the specification, for messages.

    Raises:
        ConfigError: layers do not fit together, or output sizes do not divide the input.
    """
    training = network.training
    network.eval()
    reached: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, index=index: reached.append(index))
        for index, layer in enumerate(layers)
    ]
    try:
        try:
            heights = _heights(network, channels, torch.device("cpu"))
        except _TooMuchWork:
            heights = _heights(network, channels, torch.device("meta"))
    except _WRONG as error:
        place = f"{where}, layer {reached[-1] if reached else 0}"
        raise ConfigError("layers do not fit together", place, str(error).split("\n")[0]) from error
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    if any(not height or SIDE_PX % height for height in heights):
        raise ConfigError("output sizes do not divide the input", where, f"{heights} of {SIDE_PX}")
    return tuple(SIDE_PX // height for height in heights)


def _heights(network: nn.Module, channels: int, place: torch.device) -> list[int]:
    """Return the height of each output level; on a device with numbers, only at a bounded cost."""
    # All weights are one number in memory.
    zero = torch.zeros((), device=place)
    numbers = {
        name: zero.to(value.dtype).expand(value.shape) for name, value in network.state_dict(keep_vars=True).items()
    }
    hooks = [] if place.type == "meta" else _budget(network)
    try:
        with torch.no_grad(), place:
            image = torch.zeros(1, channels, SIDE_PX, SIDE_PX)
            return [raw.shape[2] for raw in torch.func.functional_call(network, numbers, (image,))]
    finally:
        for hook in hooks:
            hook.remove()


def _budget(network: nn.Module) -> list[Any]:
    """Return the hooks that raise _TooMuchWork before too much is done."""
    left = [float(MOST_WORK)]

    def spend(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        try:
            left[0] -= _PER_CALL + _work(module, inputs[0])
        except _OddSize:
            raise
        except _WRONG as error:  # torch has its own words for odd arguments
            raise _TooMuchWork from error
        if left[0] < 0:
            raise _TooMuchWork

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.Upsample, nn.ZeroPad2d, nn.MultiheadAttention, Concat)
    return [module.register_forward_pre_hook(spend) for module in network.modules() if isinstance(module, kinds)]


def _work(module: nn.Module, x: Any) -> float:
    """Return what a module will do with an input at most, in multiplications."""
    if isinstance(module, Concat):
        return _PER_NUMBER * sum(item.numel() for item in x)
    if isinstance(module, nn.MultiheadAttention):  # [B, tokens, width]
        return float(x.shape[1]) ** 2 * (x.shape[2] + _PER_NUMBER * module.num_heads)
    _, _, *sides = x.shape
    if isinstance(module, nn.Upsample):
        return _PER_NUMBER * x.numel() * float(module.scale_factor) ** 2  # pyright: ignore[reportArgumentType]
    if isinstance(module, nn.ZeroPad2d):
        left, right, top, bottom = module.padding
        return _PER_NUMBER * x.shape[1] * max(sides[0] + top + bottom, 0) * max(sides[1] + left + right, 0)
    assert isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d))
    kernel, stride, padding, dilation = (
        _pair(value) for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    cells = 1.0
    for axis, side in enumerate(sides):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        if isinstance(module, nn.ConvTranspose2d):
            cells *= side * stride[axis] + reach + _pair(module.output_padding)[axis]
        else:
            cells *= max(side + 2 * padding[axis] - reach, 0) / stride[axis] + 1
    of_each = kernel[0] * kernel[1] * (_RARE_KERNEL_FACTOR if max(kernel) > _ORDINARY_KERNEL else 1)
    if isinstance(module, nn.MaxPool2d):
        return cells * x.shape[1] * (of_each + _PER_NUMBER)
    return cells * module.out_channels * (of_each * module.in_channels / module.groups + _PER_NUMBER)


def _pair(value: Any) -> tuple[int, int]:
    """Return a value for each axis."""
    values = value if isinstance(value, tuple) else (value,)
    if len(values) not in (1, 2):
        raise _OddSize(f"{list(values)} for two axes")
    return values[0], values[-1]
