"""Which detections are correct, at ten IoU thresholds."""

from __future__ import annotations

import torch
from torch import Tensor

from accel_yolo.boxes import iou_matrix

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""0.50, 0.55, ..., 0.95."""


def match(detections: Tensor, labels: Tensor) -> Tensor:
    """Return for each detection and IoU threshold whether it is correct.

    Each detection claims the label of its class that it overlaps most (of equals the last), if that overlap reaches
    the threshold; among the claimants of a label the most confident one is correct. (COCO instead lets detections
    choose one after the other among the labels still free.)

    Args:
        detections: [n, 6] float, x1, y1, x2, y2 in px, confidence, class; **most confident first**.
        labels: [m, 5] float, class, x1, y1, x2, y2 in the same frame.

    Returns:
        [n, 10] bool on the device of `detections`, one column for each of IOU_THRESHOLDS. n or m may be 0.
    """
    thresholds = torch.linspace(0.5, 0.95, len(IOU_THRESHOLDS), device=detections.device)
    if not len(detections) or not len(labels):
        return torch.zeros(len(detections), len(thresholds), dtype=torch.bool, device=detections.device)
    iou = iou_matrix(detections[:, :4], labels[:, 1:])
    iou = iou.masked_fill(detections[:, 5:6] != labels[:, 0], 0.0)
    best_iou, best_label = iou.flip(1).max(dim=1)  # of equals max takes the first: flip
    claims = best_iou[:, None] >= thresholds
    # A claim fails where a more confident detection (an earlier row) claims the same label at this threshold. The
    # count is a product of 0s and 1s, exact in float32. Most detections claim nothing and are left out.
    claimants = torch.nonzero(claims[:, 0]).squeeze(1)
    wanted, label = claims[claimants], best_label[claimants]
    rivals = (label[:, None] == label).tril(diagonal=-1).float()
    claims[claimants] = wanted & (rivals @ wanted.float() == 0)
    return claims
