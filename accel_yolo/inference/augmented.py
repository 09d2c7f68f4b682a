"""Test-time augmentation: one image seen three times, at three sizes, once mirrored."""

# B images, C classes, L levels, R candidates of a batch

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from accel_yolo.inference.network import Candidates, Network, TorchNetwork, joined

FILL = 0.447
"""Grey of the padding of the smaller views, in 0..1."""


@dataclass(frozen=True)
class View:
    """How an image is seen: scaled by `scale`, mirrored left to right, and which levels of the answer are kept."""

    scale: float
    mirrored: bool
    levels: slice


VIEWS = (
    View(
        1.0, False, slice(None, -1)
    ),  # the coarsest level answers for large objects: the smaller views see them better
    View(0.83, True, slice(None)),
    View(0.67, False, slice(1, None)),  # and the finest for small ones
)


class AugmentedNetwork(Network):
    """A torch network asked three times about each image: its answers together are the candidates."""

    parallel = True

    def __init__(self, network: TorchNetwork) -> None:
        self.network = network
        self.names, self.strides = network.names, network.strides
        self.device, self.imgsz = network.device, network.imgsz

    @property
    def input_dtype(self) -> torch.dtype:
        """What the first layer computes in."""
        return self.network.input_dtype

    def __call__(self, images: Tensor) -> list[tuple[View, Sequence[Tensor], int]]:
        """Return each view with the raw outputs for it, and the width of the images, px."""
        return [(view, self.network(seen(images, view, self.stride)), images.shape[3]) for view in VIEWS]

    def candidates(self, output: list[tuple[View, Sequence[Tensor], int]], conf_thres: float) -> Candidates:
        """Return the candidates of all views in pixels of the whole image, view after view."""
        return joined([self._candidates_of(*answer, conf_thres) for answer in output])

    def _candidates_of(self, view: View, raws: Sequence[Tensor], width: int, conf_thres: float) -> Candidates:
        rows, image = self.network.candidates(raws, conf_thres, view.levels)
        boxes = rows[:, :4] / view.scale
        if view.mirrored:
            boxes[:, 0] = width - boxes[:, 0]
        return torch.cat((boxes, rows[:, 4:]), dim=1), image


def seen(images: Tensor, view: View, stride: int) -> Tensor:
    """Return images [B, 3, H, W] in 0..1 as a view shows them: scaled bilinearly, padded at the right and bottom.

    Args:
        images: H and W multiples of `stride`.
        view: see there.
        stride: sides of what is returned are multiples of it.
    """
    if view.mirrored:
        images = images.flip(3)
    if view.scale == 1:
        return images
    height, width = images.shape[2:]
    size = int(height * view.scale), int(width * view.scale)
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    scaled = F.interpolate(wide, size=size, mode="bilinear", align_corners=False).to(images.dtype)
    bottom, right = (math.ceil(side * view.scale / stride) * stride for side in (height, width))
    return F.pad(scaled, (0, right - size[1], 0, bottom - size[0]), value=FILL)
