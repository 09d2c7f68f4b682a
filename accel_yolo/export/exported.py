"""The network as it is exported: images in, decoded predictions out, in one module without a choice in it."""

# B images, N predictions per image, A anchors per level, h w grid, no = 5 + classes

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from accel_yolo.models.detector import Detector


class ExportedDetector(nn.Module):
    """A fused copy of a detector that decodes its own output.

    `models.heads.decode_level` in few and plain operations: what a converter sees is what every runtime must know.

    Args:
        detector: left as it is.
        half: the network computes in float16; boxes are decoded in float32 all the same, because a float16 above 512
            has steps of half a pixel.
        relative_grid: make the grid from the features instead of from numbers, so that a traced program does not
            hold the device it was traced on.
    """

    anchors_px: Tensor

    def __init__(self, detector: Detector, *, half: bool = False, relative_grid: bool = False) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).eval().fuse().requires_grad_(False)
        self.register_buffer("anchors_px", self.detector.anchors_px.detach().float().clone())
        self.strides, self.relative_grid = detector.strides, relative_grid
        if half:
            self.detector.half()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return predictions of a batch.

        Args:
            images: [B, 3, H, W] float (float16 when half), RGB in 0..1.

        Returns:
            [B, N, 5 + C] float32: cx, cy, w, h in network-input pixels, objectness and class probabilities.
        """
        raws: Sequence[Tensor] = self.detector(images)
        levels = [self._decoded(raw, self.anchors_px[i], self.strides[i]) for i, raw in enumerate(raws)]
        return torch.cat(levels, dim=1)

    def _decoded(self, raw: Tensor, anchors_px: Tensor, stride: int) -> Tensor:
        shape = raw.shape
        probability = raw.float().sigmoid()
        columns = (self._numbers(raw, shape[3]) - 0.5).reshape(1, 1, 1, -1, 1)
        rows = (self._numbers(raw, shape[2]) - 0.5).reshape(1, 1, -1, 1, 1)
        x = (probability[..., 0:1] * 2 + columns) * stride
        y = (probability[..., 1:2] * 2 + rows) * stride
        # Not a power: a product is in every runtime and every version of ONNX.
        doubled = probability[..., 2:4] * 2
        size = doubled * doubled * anchors_px.reshape(1, -1, 1, 1, 2)
        return torch.cat((x, y, size, probability[..., 4:]), dim=-1).reshape(shape[0], -1, shape[4])

    def _numbers(self, raw: Tensor, count: int) -> Tensor:
        """Return 0, 1, ..., count - 1, float32."""
        if self.relative_grid:
            return raw.new_ones(count, dtype=torch.float32).cumsum(0) - 1
        return torch.arange(count, dtype=torch.float32, device=raw.device)
