"""From the bytes of images to what the first layer takes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def network_input(images: Tensor, dtype: torch.dtype, size_hw: tuple[int, int] | None = None) -> Tensor:
    """Return [B, 3, H, W] of `dtype` in 0..1 (channels last in memory) of images [B, H, W, 3] uint8."""
    images = images.permute(0, 3, 1, 2)
    if size_hw is None or tuple(images.shape[2:]) == size_hw:
        return images.to(dtype).div_(255)
    wide = images.to(torch.promote_types(dtype, torch.float32)).div_(255)
    return F.interpolate(wide, size=size_hw, mode="bilinear", align_corners=False).to(dtype)
