"""Weighted box fusion: boxes of several detectors averaged instead of suppressed."""

# K boxes of all detectors, F fused boxes so far

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def weighted_box_fusion(tables: Sequence[Tensor], iou_thres: float, agnostic: bool = False) -> Tensor:
    """Return the boxes of several detectors for one image fused into one table, most confident first.

    Solovyev, Wang, Gabruseva, "Weighted boxes fusion" (2021), section 3, with equal weights: boxes are taken most
    confident first; each joins the fused box of its class that it overlaps most, if by more than the threshold, or
    begins a new one. A fused box is the mean of its members weighted by their confidence. Its confidence is the mean of
    theirs, times the share of detectors that have seen it.

    Args:
        tables: for each detector [k, 6] float: x1, y1, x2, y2 in px of one frame, confidence, class.
        iou_thres: 0..1.
        agnostic: boxes of different classes are fused too; the most confident gives the class.

    Returns:
        [F, 6] float32 on the device of the tables. Equal confidences keep the order in which they began.
    """
    rows = torch.cat(list(tables)).double().cpu().numpy()
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    groups = [rows] if agnostic else [rows[rows[:, 5] == label] for label in np.unique(rows[:, 5])]
    fused = np.concatenate([np.zeros((0, 6)), *(_fused(group, iou_thres, len(tables)) for group in groups)])
    fused = fused[np.argsort(-fused[:, 4], kind="stable")]
    return torch.from_numpy(fused).float().to(tables[0].device)


def _fused(rows: NDArray[np.float64], iou_thres: float, detectors: int) -> NDArray[np.float64]:
    """Return the fused boxes [F, 6] of boxes [K, 6] that may all be fused, most confident first."""
    boxes = np.zeros((len(rows), 4))
    weighted, confidence = np.zeros((len(rows), 4)), np.zeros(len(rows))
    members, classes = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows))
    count = 0
    for row in rows:
        overlaps = _iou(boxes[:count], row[:4])
        place = int(overlaps.argmax()) if count else 0
        if not count or overlaps[place] <= iou_thres:
            place, count = count, count + 1
            classes[place] = row[5]
        weighted[place] += row[4] * row[:4]
        confidence[place] += row[4]
        members[place] += 1
        boxes[place] = weighted[place] / confidence[place]
    seen = np.minimum(members[:count], detectors) / detectors
    mean = confidence[:count] / np.maximum(members[:count], 1)
    return np.column_stack((boxes[:count], mean * seen, classes[:count]))


def _iou(boxes: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU [F] of boxes [F, 4] with one box [4], corners in one frame; boxes without area overlap nothing."""
    sides = (np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])).clip(min=0)
    common = sides[:, 0] * sides[:, 1]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) + (box[2] - box[0]) * (box[3] - box[1])
    return common / np.maximum(areas - common, 1e-12)
