"""Layers that a model YAML may name. Sizes are [B, C, H, W]; no layer works in place or forces a memory format.

Attribute names (`cv1`, `bn`, `m`, ...) are the state-dict keys of published weights: renaming one breaks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

BN_EPS = 1e-3
BN_MOMENTUM = 0.03
MAX_POOLS = 16

ConvT = TypeVar("ConvT", bound="Conv")


class Conv(nn.Module):
    """Convolution without bias, batch normalisation, SiLU.

    Args:
        c_in: input channels.
        c_out: output channels.
        k: side of the square kernel, or (height, width).
        s: stride.
        p: zero padding; None keeps the size at stride 1.
        g: groups.
        d: dilation.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        k: int | tuple[int, int] = 1,
        s: int | tuple[int, int] = 1,
        p: int | None = None,
        g: int = 1,
        d: int = 1,
    ) -> None:
        super().__init__()
        padding = _same_padding(k, d) if p is None else p
        self.conv = nn.Conv2d(c_in, c_out, k, s, padding, groups=g, dilation=d, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=BN_EPS, momentum=BN_MOMENTUM)
        self.act: nn.Module = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H', W']."""
        return self.act(self.bn(self.conv(x)))

    def linear(self: ConvT) -> ConvT:
        """Return self without its activation."""
        self.act = nn.Identity()
        return self

    def fuse(self) -> None:
        """Fold the normalisation into the convolution; for inference only (running statistics are used)."""
        if not isinstance(self.bn, nn.BatchNorm2d):
            return
        weight, bias = folded(self.conv, self.bn)
        self.conv.weight = nn.Parameter(weight, requires_grad=False)
        self.conv.bias = nn.Parameter(bias, requires_grad=False)
        self.bn = nn.Identity()


def folded(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one convolution that equals `conv` followed by `bn` in eval mode.

    W' = W * gamma / sqrt(var + eps), b' = beta + (b - mean) * gamma / sqrt(var + eps); computed in float64.
    """
    if bn.running_var is None or bn.running_mean is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    with torch.no_grad():
        scale = bn.weight.double() / (bn.running_var.double() + bn.eps).sqrt()
        weight = conv.weight.double() * scale[:, None, None, None]
        offset = -bn.running_mean.double() if conv.bias is None else conv.bias.double() - bn.running_mean.double()
        bias = bn.bias.double() + offset * scale
        return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def set_activation(root: nn.Module, make: Callable[[], nn.Module]) -> None:
    """Replace the activation of every `Conv` under `root` that has one."""
    for module in root.modules():
        if isinstance(module, Conv) and not isinstance(module.act, nn.Identity):
            module.act = make()


def _same_padding(k: int | tuple[int, int], d: int) -> int | tuple[int, int]:
    if isinstance(k, int):
        return (d * (k - 1) + 1) // 2
    return (d * (k[0] - 1) + 1) // 2, (d * (k[1] - 1) + 1) // 2


class DWConv(Conv):
    """`Conv` with as many groups as both channel numbers allow."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, s: int = 1, d: int = 1) -> None:
        super().__init__(c_in, c_out, k, s, g=math.gcd(c_in, c_out), d=d)


class Bottleneck(nn.Module):
    """1x1 then 3x3 `Conv`, with a residual where shapes allow it (He et al. 2016)."""

    def __init__(self, c_in: int, c_out: int, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c_out * e)
        self.cv1 = Conv(c_in, hidden, 1)
        self.cv2 = Conv(hidden, c_out, 3, g=g)
        self.residual = shortcut and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H, W]."""
        y = self.cv2(self.cv1(x))
        return x + y if self.residual else y


class CrossConv(nn.Module):
    """1xk then kx1 `Conv`, with a residual where shapes allow it."""

    def __init__(
        self, c_in: int, c_out: int, k: int = 3, s: int = 1, g: int = 1, e: float = 1.0, shortcut: bool = False
    ) -> None:
        super().__init__()
        hidden = int(c_out * e)
        self.cv1 = Conv(c_in, hidden, (1, k), (1, s))
        self.cv2 = Conv(hidden, c_out, (k, 1), (s, 1), g=g)
        self.residual = shortcut and c_in == c_out and s == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H', W']."""
        y = self.cv2(self.cv1(x))
        return x + y if self.residual else y


class C3(nn.Module):
    """Cross-stage partial block with three convolutions (Wang et al. 2020).

    Args:
        c_in: input channels.
        c_out: output channels.
        n: bottlenecks on the main path.
        shortcut: residual inside the bottlenecks.
        g: groups of their 3x3 convolutions.
        e: hidden channels as a share of `c_out`.
    """

    def __init__(self, c_in: int, c_out: int, n: int = 1, shortcut: bool = True, g: int = 1, e: float = 0.5) -> None:
        super().__init__()
        hidden = int(c_out * e)
        self.cv1 = Conv(c_in, hidden)
        self.cv2 = Conv(c_in, hidden)
        self.cv3 = Conv(2 * hidden, c_out)
        self.m: nn.Module = self._inner(hidden, n, shortcut, g)

    def _inner(self, hidden: int, n: int, shortcut: bool, g: int) -> nn.Module:
        return nn.Sequential(*(Bottleneck(hidden, hidden, shortcut, g, e=1.0) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H, W]."""
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))


class C3x(C3):
    """C3 whose bottlenecks are 1x3 then 3x1."""

    def _inner(self, hidden: int, n: int, shortcut: bool, g: int) -> nn.Module:
        return nn.Sequential(*(CrossConv(hidden, hidden, 3, 1, g, 1.0, shortcut) for _ in range(n)))


class SPPF(nn.Module):
    """Spatial pyramid pooling as three chained max pools of side `k` (He et al. 2014; pools 5, 9, 13 for k = 5)."""

    def __init__(self, c_in: int, c_out: int, k: int = 5) -> None:
        super().__init__()
        hidden = c_in // 2
        self.cv1 = Conv(c_in, hidden)
        self.cv2 = Conv(4 * hidden, c_out)
        self.pool = nn.MaxPool2d(k, stride=1, padding=k // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H, W]."""
        levels = [self.cv1(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        return self.cv2(torch.cat(levels, dim=1))


class SPP(nn.Module):
    """Spatial pyramid pooling with parallel max pools (He et al. 2014)."""

    def __init__(self, c_in: int, c_out: int, k: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        if len(k) > MAX_POOLS:
            raise ValueError(f"{len(k)} pools, at most {MAX_POOLS}")
        hidden = c_in // 2
        self.cv1 = Conv(c_in, hidden)
        self.cv2 = Conv((len(k) + 1) * hidden, c_out)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, stride=1, padding=side // 2) for side in k)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H, W]."""
        base = self.cv1(x)
        return self.cv2(torch.cat([base, *(pool(base) for pool in self.pools)], dim=1))


class Focus(nn.Module):
    """Space to depth by two, then `Conv`; the stem of models before 2021-10."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, s: int = 1, p: int | None = None, g: int = 1) -> None:
        super().__init__()
        self.conv = Conv(4 * c_in, c_out, k, s, p, g)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H/2, W/2]; the pixel phases are stacked column-major."""
        phases = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(phases, dim=1))


class Concat(nn.Module):
    """Inputs joined along a dimension, in the order of the `from` list."""

    takes_list = True

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.dimension = dimension

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Return float [B, sum of channels, H, W]."""
        return torch.cat(inputs, dim=self.dimension)


class Contract(nn.Module):
    """Space to depth: [B, C, H, W] -> [B, C * gain^2, H / gain, W / gain]."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, C * gain^2, H / gain, W / gain]; the phase is the slow part of the channel."""
        batch, channels, height, width = x.shape
        gain = self.gain
        phases = x.reshape(batch, channels, height // gain, gain, width // gain, gain).permute(0, 3, 5, 1, 2, 4)
        return phases.reshape(batch, channels * gain**2, height // gain, width // gain)


class Expand(nn.Module):
    """Depth to space, the inverse of `Contract`."""

    def __init__(self, gain: int = 2) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, C / gain^2, H * gain, W * gain]."""
        batch, channels, height, width = x.shape
        gain = self.gain
        phases = x.reshape(batch, gain, gain, channels // gain**2, height, width).permute(0, 3, 4, 1, 5, 2)
        return phases.reshape(batch, channels // gain**2, height * gain, width * gain)
