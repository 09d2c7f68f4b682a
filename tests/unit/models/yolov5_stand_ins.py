"""Classes under the names that YOLOv5 checkpoints use, so that such a file can be unpickled and run without YOLOv5.

They are this project's own, written from the description of the layers: attributes come from the file, `forward` from
here. Nothing is ever constructed, only unpickled.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn


class Conv(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class DWConv(Conv):
    pass


class _Residual(nn.Module):
    add: bool

    def forward(self, x: Tensor) -> Tensor:
        inner = self.cv2(self.cv1(x))
        return inner + x if self.add else inner


class Bottleneck(_Residual):
    pass


class CrossConv(_Residual):
    pass


class C3(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], 1))


class C3x(C3):
    pass


class C3Ghost(C3):
    pass


class C3TR(C3):
    pass


class SPPF(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first = self.cv1(x)
        second = self.m(first)
        third = self.m(second)
        return self.cv2(torch.cat([first, second, third, self.m(third)], 1))


class SPP(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first = self.cv1(x)
        return self.cv2(torch.cat([first] + [pool(first) for pool in self.m], 1))


class Focus(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        corners = ((0, 0), (1, 0), (0, 1), (1, 1))
        return self.conv(torch.cat([x[:, :, row::2, column::2] for row, column in corners], 1))


class Concat(nn.Module):
    d: int

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return torch.cat(inputs, self.d)


class Contract(nn.Module):
    gain: int

    def forward(self, x: Tensor) -> Tensor:
        s = self.gain
        cells = [x[:, :, row::s, column::s] for row in range(s) for column in range(s)]
        return torch.cat(cells, 1)


class Expand(nn.Module):
    gain: int

    def forward(self, x: Tensor) -> Tensor:
        s = self.gain
        batch, channels, height, width = x.shape
        out = x.new_zeros(batch, channels // s**2, height * s, width * s)
        for number, part in enumerate(x.chunk(s**2, 1)):
            out[:, :, number // s :: s, number % s :: s] = part
        return out


class GhostConv(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        primary = self.cv1(x)
        return torch.cat([primary, self.cv2(primary)], 1)


class GhostBottleneck(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv(x)


class TransformerLayer(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens come first, then images."""
        tokens = tokens + self.ma(self.q(tokens), self.k(tokens), self.v(tokens))[0]
        return tokens + self.fc2(self.fc1(tokens))


class TransformerBlock(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert self.conv is None
        tokens = x.flatten(2).permute(2, 0, 1)
        tokens = self.tr(tokens + self.linear(tokens))
        return tokens.permute(1, 2, 0).reshape(x.shape[0], self.c2, *x.shape[2:])


class Detect(nn.Module):
    nc: int
    no: int
    nl: int
    na: int
    anchors: Tensor
    stride: Tensor

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return decoded boxes and raw outputs."""
        assert self.no == self.nc + 5 and self.nl == len(self.m) == len(self.grid) == len(self.anchor_grid)
        raws, boxes = [], []
        for level, feature in enumerate(features):
            batch, _, height, width = feature.shape
            raw = self.m[level](feature).reshape(batch, self.na, self.no, height, width).permute(0, 1, 3, 4, 2)
            share = raw.sigmoid()
            ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            corner = torch.stack([xs, ys], -1) - 0.5
            size_px = (self.anchors[level] * self.stride[level]).reshape(1, self.na, 1, 1, 2)
            centre = (share[..., :2] * 2 + corner) * self.stride[level]
            side = (share[..., 2:4] * 2) ** 2 * size_px
            raws.append(raw)
            boxes.append(torch.cat([centre, side, share[..., 4:]], -1).reshape(batch, -1, self.no))
        return torch.cat(boxes, 1), raws


class DetectionModel(nn.Module):
    save: list[int]
    names: dict[int, str]

    def forward(self, x: Tensor) -> Any:
        kept: list[Any] = []
        current: Any = x
        for layer in self.model:
            named = layer.f if isinstance(layer.f, list) else [layer.f]
            inputs = [current if number == -1 else kept[number] for number in named]
            current = layer(inputs if isinstance(layer.f, list) else inputs[0])
            kept.append(current if layer.i in self.save else None)
        return current


def stand_in_modules() -> dict[str, types.ModuleType]:
    """Return modules `models`, `models.yolo` and `models.common` with these classes."""
    homes = {name: types.ModuleType(name) for name in ("models", "models.yolo", "models.common")}
    for name, kind in list(globals().items()):
        if isinstance(kind, type) and issubclass(kind, nn.Module) and not name.startswith("_"):
            home = "models.yolo" if name in ("Detect", "DetectionModel") else "models.common"
            kind.__module__ = home  # so that a loaded file can be saved again
            setattr(homes[home], name, kind)
    return homes
