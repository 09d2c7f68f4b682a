"""Boxes of confident cells: what `Detector.decode` would return, computed only where it can matter."""

# B images, A anchors per level, H W grid, no = 5 + classes outputs per anchor, R rows that are kept

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from accel_yolo.models.detector import Detector


def confident_rows(
    detector: Detector, raws: Sequence[Tensor], conf_thres: float, levels: slice = slice(None)
) -> tuple[Tensor, Tensor]:
    """Return the predictions whose objectness is above a threshold, and the images they belong to.

    A trained detector is confident in a few percent of its cells; decoding the others would be most of the work.

    Args:
        detector: gives anchors and strides.
        raws: what the detector returned, one tensor per level; half precision is decoded in float32.
        conf_thres: objectness must be greater, 0..1.
        levels: only the predictions of these.

    Returns:
        rows: [R, no] float: cx, cy, w, h in network-input pixels, objectness and class probabilities in (0, 1).
        image: [R] int64, ascending, the place of the image in the batch.
        In an image the order is that of `Detector.decode`: level, anchor, row, column.
    """
    sizes_px = detector.anchors_px
    parts = [
        _confident_of_level(raw, level_px, stride, conf_thres)
        for raw, level_px, stride in [*zip(raws, sizes_px, detector.strides, strict=True)][levels]
    ]
    image = torch.cat([image for _, image in parts])
    order = image.sort(stable=True).indices
    return torch.cat([rows for rows, _ in parts])[order], image[order]


def _confident_of_level(raw: Tensor, anchors_px: Tensor, stride: int, conf_thres: float) -> tuple[Tensor, Tensor]:
    """Return rows [R, no] and images [R] of one level [B, A, H, W, no]; the formula is that of `decode_level`."""
    dtype = torch.float32 if raw.dtype in (torch.float16, torch.bfloat16) else raw.dtype
    confident = raw[..., 4].to(dtype).sigmoid() > conf_thres
    image, anchor, row, column = torch.nonzero(confident, as_tuple=True)
    probability = raw[image, anchor, row, column].to(dtype).sigmoid()
    cell_xy = torch.stack((column, row), dim=1).to(dtype) - 0.5
    centre = (probability[:, 0:2] * 2 + cell_xy) * stride
    size = (probability[:, 2:4] * 2) ** 2 * anchors_px.to(dtype)[anchor]
    return torch.cat((centre, size, probability[:, 4:]), dim=1), image
