"""Boxes: formats, the IoU family. Pure functions on CPU or device tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Return corners [..., 4] (x1, y1, x2, y2) of boxes [..., 4] (centre x, centre y, width, height), same frame."""
    half = boxes_cxcywh[..., 2:4] / 2
    centre = boxes_cxcywh[..., :2]
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Return boxes [..., 4] (centre x, centre y, width, height) of corners [..., 4], same frame."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:4]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def iou_matrix(boxes_xyxy: Tensor, others_xyxy: Tensor, eps: float = 1e-7) -> Tensor:
    """Return the IoU of every box with every other.

    Args:
        boxes_xyxy: [N, 4] float, corners in any frame.
        others_xyxy: [M, 4] float, same frame.
        eps: added to the union; two empty boxes give 0, never NaN.

    Returns:
        [N, M] float in [0, 1]. N or M may be 0.
    """
    low = torch.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = torch.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(-1)
    other_area = (others_xyxy[:, 2:] - others_xyxy[:, :2]).prod(-1)
    return inter / (area[:, None] + other_area[None] - inter + eps)


def paired_iou(pred_cxcywh: Tensor, true_cxcywh: Tensor, kind: str = "iou", eps: float = 1e-7) -> Tensor:
    """Return IoU, GIoU, DIoU or CIoU of boxes taken two by two (row i against row i).

    GIoU: Rezatofighi et al. 2019, eq. 1; DIoU and CIoU: Zheng et al. 2020, eq. 7 and 10-12, with the trade-off
    weight alpha held constant for differentiation.

    Args:
        pred_cxcywh: [N, 4] float, centre and size in any frame.
        true_cxcywh: [N, 4] float, same frame.
        kind: "iou", "giou", "diou" or "ciou".
        eps: added to divisors; boxes of zero area give finite values.

    Returns:
        [N] float; "iou" in [0, 1], the others in (-1.5, 1]; 1 means equal boxes. N = 0 is allowed.
    """
    pred, true = cxcywh_to_xyxy(pred_cxcywh), cxcywh_to_xyxy(true_cxcywh)
    overlap = (torch.minimum(pred[:, 2:], true[:, 2:]) - torch.maximum(pred[:, :2], true[:, :2])).clamp(min=0)
    inter = overlap.prod(-1)
    union = pred_cxcywh[:, 2:].prod(-1) + true_cxcywh[:, 2:].prod(-1) - inter + eps
    iou = inter / union
    if kind == "iou":
        return iou
    enclosing = torch.maximum(pred[:, 2:], true[:, 2:]) - torch.minimum(pred[:, :2], true[:, :2])
    if kind == "giou":
        hull = enclosing.prod(-1) + eps
        return iou - (hull - union) / hull
    distance = (pred_cxcywh[:, :2] - true_cxcywh[:, :2]).square().sum(-1)
    diou = iou - distance / (enclosing.square().sum(-1) + eps)
    if kind == "diou":
        return diou
    if kind != "ciou":
        raise ValueError(f"unknown IoU kind {kind!r}")
    angle = torch.atan(true_cxcywh[:, 2] / true_cxcywh[:, 3]) - torch.atan(pred_cxcywh[:, 2] / pred_cxcywh[:, 3])
    aspect = (4 / math.pi**2) * angle.square()
    with torch.no_grad():
        alpha = aspect / (aspect - iou + (1 + eps))
    return diou - alpha * aspect
