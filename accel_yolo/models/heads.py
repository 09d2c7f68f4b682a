"""Detection head: raw outputs from features, and boxes from raw outputs.

Legend: B images, A anchors per level, L levels, H W grid, no = 5 + classes outputs per anchor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Detect(nn.Module):
    """One 1x1 convolution per level; channel = anchor * no + output.

    The outputs of an anchor are tx, ty, tw, th, objectness logit, class logits. The buffer `anchors`
    [L, A, 2] float32 holds widths and heights in grid units (pixels / stride of the level).
    """

    takes_list = True
    anchors: Tensor

    def __init__(self, nc: int, anchors_per_level: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.nc = nc
        self.no = nc + 5
        self.na = anchors_per_level
        self.register_buffer("anchors", torch.ones(len(channels), anchors_per_level, 2))
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in channels)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return one float [B, A, H, W, no] per level: a view of the convolution's output, not made contiguous."""
        raws = []
        for conv, feature in zip(self.m, features, strict=True):
            raws.append(conv(feature).unflatten(1, (self.na, self.no)).permute(0, 1, 3, 4, 2))
        return raws

    def shift_biases(self, strides: Sequence[int]) -> None:
        """Add the prior of rare objects to the biases: 8 objects per 640-px image, classes equally likely.

        Objectness += ln(8 / (640 / stride)^2), every class += ln(0.6 / (nc - 0.99999)); the focal-loss paper's
        prior initialisation (Lin et al. 2017, section 3.3) with these rates.
        """
        with torch.no_grad():
            for conv, stride in zip(self.m, strides, strict=True):
                assert isinstance(conv, nn.Conv2d) and conv.bias is not None
                bias = conv.bias.view(self.na, self.no)
                bias[:, 4] += math.log(8 / (640 / stride) ** 2)
                bias[:, 5:] += math.log(0.6 / (self.nc - 0.99999))


def decode_level(raw: Tensor, anchors_px: Tensor, stride: int) -> Tensor:
    """Return the boxes of one level.

    With sigma the logistic function, cell (column i, row j) and anchor (p_w, p_h):
    x = (2 sigma(tx) + i - 0.5) * stride, y likewise with j, w = (2 sigma(tw))^2 * p_w, h likewise.

    Args:
        raw: [B, A, H, W, no] float, head output; half precision is decoded in float32.
        anchors_px: [A, 2] float, widths and heights in network-input pixels.
        stride: pixels per grid cell.

    Returns:
        [B, A * H * W, no] float: cx, cy, w, h in network-input pixels, then objectness and class probabilities
        in (0, 1), in the order anchor, row, column.
    """
    if raw.dtype in (torch.float16, torch.bfloat16):
        raw = raw.float()
    batch, anchors, height, width, outputs = raw.shape
    probability = raw.sigmoid()
    rows = torch.arange(height, dtype=raw.dtype, device=raw.device) - 0.5
    columns = torch.arange(width, dtype=raw.dtype, device=raw.device) - 0.5
    grid_xy = torch.stack((columns.expand(height, width), rows[:, None].expand(height, width)), dim=-1)
    centre = (probability[..., 0:2] * 2 + grid_xy) * stride
    size = (probability[..., 2:4] * 2) ** 2 * anchors_px.to(raw.dtype).view(1, anchors, 1, 1, 2)
    decoded = torch.cat((centre, size, probability[..., 4:]), dim=-1)
    return decoded.reshape(batch, anchors * height * width, outputs)
