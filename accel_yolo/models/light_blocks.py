"""Optional layers of a model YAML: ghost convolutions and a transformer inside a C3.

No published weights use them here, so their state-dict keys are this project's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from accel_yolo.models.blocks import C3, Conv, DWConv


class GhostConv(nn.Module):
    """Half of the channels by a `Conv`, the other half by a cheap depthwise 5x5 of the first (Han et al. 2020)."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, s: int = 1, g: int = 1) -> None:
        super().__init__()
        half = c_out // 2
        self.cv1 = Conv(c_in, half, k, s, g=g)
        self.cv2 = Conv(half, half, 5, g=half)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H', W']."""
        y = self.cv1(x)
        return torch.cat((y, self.cv2(y)), dim=1)

    def linear(self) -> GhostConv:
        """Return self without activations."""
        self.cv1.linear()
        self.cv2.linear()
        return self


class GhostBottleneck(nn.Module):
    """Ghost, optional depthwise at stride 2, linear ghost, plus a shortcut (Han et al. 2020, figure 3)."""

    def __init__(self, c_in: int, c_out: int, k: int = 3, s: int = 1) -> None:
        super().__init__()
        hidden = c_out // 2
        downscale = DWConv(hidden, hidden, k, s).linear() if s == 2 else nn.Identity()
        self.conv = nn.Sequential(GhostConv(c_in, hidden), downscale, GhostConv(hidden, c_out).linear())
        if s == 1 and c_in == c_out:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(DWConv(c_in, c_in, k, s).linear(), Conv(c_in, c_out).linear())

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, c_out, H', W']."""
        return self.conv(x) + self.shortcut(x)


class C3Ghost(C3):
    """C3 whose bottlenecks are ghost bottlenecks."""

    def _inner(self, hidden: int, n: int, shortcut: bool, g: int) -> nn.Module:
        return nn.Sequential(*(GhostBottleneck(hidden, hidden) for _ in range(n)))


class TransformerLayer(nn.Module):
    """Self-attention and two bias-free linears, each with a residual and no normalisation (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.fc1 = nn.Linear(width, width, bias=False)
        self.fc2 = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, tokens, width]."""
        x = x + self.attention(self.q(x), self.k(x), self.v(x), need_weights=False)[0]
        return x + self.fc2(self.fc1(x))


class PixelTransformer(nn.Module):
    """Transformer layers over the pixels of a feature map, with a learned linear position term."""

    def __init__(self, width: int, layers: int, heads: int = 4) -> None:
        super().__init__()
        self.position = nn.Linear(width, width)
        self.layers = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(layers)))

    def forward(self, x: Tensor) -> Tensor:
        """Return float [B, width, H, W]."""
        tokens = x.flatten(2).transpose(1, 2)
        tokens = self.layers(tokens + self.position(tokens))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])


class C3TR(C3):
    """C3 with a transformer of `n` layers and four heads in place of the bottlenecks."""

    def _inner(self, hidden: int, n: int, shortcut: bool, g: int) -> nn.Module:
        return PixelTransformer(hidden, n)
