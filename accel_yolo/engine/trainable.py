"""Detector and loss as the one module that is prepared: under DDP and autocast it returns sums, not predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from accel_yolo.data.render_torch import jitter_colour
from accel_yolo.losses.assignment import LevelEntries
from accel_yolo.losses.detection import LossOptions, detection_sums
from accel_yolo.models.detector import Detector
from accel_yolo.models.network_input import network_input


class Trainable(nn.Module):
    """Images and matched cells in, local loss sums out."""

    def __init__(self, detector: Detector, options: LossOptions, jitter: Callable[..., Tensor] = jitter_colour) -> None:
        super().__init__()
        self.detector = detector
        self.options = options
        self._jitter = jitter

    def forward(
        self,
        images: Tensor,
        entries: Sequence[LevelEntries],
        size_hw: tuple[int, int],
        gains: Tensor | None = None,
    ) -> Tensor:
        """Return the local sums [L, 3] float32 (box, objectness, class).

        Args:
            images: [B, H, W, 3] uint8 RGB.
            entries: L tables of matched cells, made for grids of `size_hw`.
            size_hw: network input size in px; the images are resized to it when it differs (multi-scale).
            gains: [B, 3] float32, factors of hue, saturation and value to change the colours by; None leaves them.
        """
        kind = images.device.type
        # What the first convolution computes in, so that the images are not converted twice.
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.detector.anchors.dtype
        raws = self.detector(network_input(self._jitter(images, gains), dtype, size_hw))
        # The loss is computed in float32 whatever the precision of the convolutions.
        with torch.autocast(images.device.type, enabled=False):
            return detection_sums(raws, entries, self.options)
