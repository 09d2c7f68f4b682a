"""Detector and loss as the one module that is prepared: under DDP and autocast it returns sums, not predictions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from accel_yolo.losses.assignment import LevelEntries
from accel_yolo.losses.detection import LossOptions, detection_sums
from accel_yolo.models.detector import Detector


class Trainable(nn.Module):
    """Images and matched cells in, local loss sums out."""

    def __init__(self, detector: Detector, options: LossOptions) -> None:
        super().__init__()
        self.detector = detector
        self.options = options

    def forward(self, images: Tensor, entries: Sequence[LevelEntries], size_hw: tuple[int, int]) -> Tensor:
        """Return the local sums [L, 3] float32 (box, objectness, class).

        Args:
            images: [B, H, W, 3] uint8 RGB.
            entries: L tables of matched cells, made for grids of `size_hw`.
            size_hw: network input size in px; the images are resized to it when it differs (multi-scale).
        """
        raws = self.detector(network_input(images, self.detector.anchors.dtype, size_hw))
        # The loss is computed in float32 whatever the precision of the convolutions.
        with torch.autocast(images.device.type, enabled=False):
            return detection_sums(raws, entries, self.options)


def network_input(images: Tensor, dtype: torch.dtype, size_hw: tuple[int, int] | None = None) -> Tensor:
    """Return [B, 3, H, W] of `dtype` in 0..1 (channels last in memory) of images [B, H, W, 3] uint8."""
    batch = images.permute(0, 3, 1, 2).to(dtype) / 255
    if size_hw is not None and tuple(batch.shape[2:]) != size_hw:
        batch = F.interpolate(batch, size=size_hw, mode="bilinear", align_corners=False)
    return batch
