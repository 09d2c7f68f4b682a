"""Non-maximum suppression: from decoded head outputs to the boxes that are kept."""

# B images, N predictions per image, C classes, R rows above the threshold, K candidates (row, class)

from __future__ import annotations

import torch
from torch import Tensor

from accel_yolo.boxes import cxcywh_to_xyxy
from accel_yolo.metrics.nms_kernel import suppress_overlaps
from accel_yolo.metrics.nms_options import FIRST_CANDIDATES_PER_KEPT, MAX_CANDIDATES, NmsOptions

__all__ = ["MAX_CANDIDATES", "NmsOptions", "non_max_suppression", "suppressed"]


def non_max_suppression(decoded: Tensor, options: NmsOptions) -> list[Tensor]:
    """Return the boxes kept for each image, most confident first.

    The confidence of a candidate is objectness times class probability. Nothing is cut short by a clock, and equal
    confidences keep the order of the predictions, so the same input always gives the same rows.

    Args:
        decoded: [B, N, 5+C] float; centre x, centre y, width, height in network-input pixels, objectness and class
            probabilities in 0..1. Rows with a NaN or infinite box are never kept.
        options: thresholds and filters.

    Returns:
        B tensors [k, 6] float32, k <= max_det: x1, y1, x2, y2 in network-input pixels, confidence, class.
    """
    image, row = torch.nonzero(decoded[..., 4] > options.conf_thres, as_tuple=True)
    return suppressed(decoded[image, row].float(), image, len(decoded), options)


def suppressed(rows: Tensor, image: Tensor, images: int, options: NmsOptions) -> list[Tensor]:
    """Return the same as `non_max_suppression` from the rows that are confident enough.

    Args:
        rows: [R, 5+C] float32, as there; objectness above the threshold.
        image: [R] int64, ascending: where each row belongs.
        images: how many there are.
        options: thresholds and filters.
    """
    home = rows.device
    if home.type == "mps":  # torchvision has no such kernel there, and float64 does not exist
        rows, image = rows.cpu(), image.cpu()
    table, image = _candidates(rows, image, options)
    per_image = torch.bincount(image, minlength=images).tolist()
    return [_suppress(part, options).to(home) for part in table.split(per_image)]


def _candidates(rows: Tensor, image: Tensor, options: NmsOptions) -> tuple[Tensor, Tensor]:
    """Return [K, 6] x1, y1, x2, y2, confidence, class and their images [K]: image by image, most confident first."""
    scores = rows[:, 5:] * rows[:, 4:5]
    if options.multi_label and scores.shape[1] > 1:
        row, label = torch.nonzero(scores > options.conf_thres, as_tuple=True)
        confidence = scores[row, label]
    else:
        best, best_label = scores.max(dim=1)
        row = torch.nonzero(best > options.conf_thres).squeeze(1)
        confidence, label = best[row], best_label[row]
    boxes_xyxy = cxcywh_to_xyxy(rows[row, :4])
    keep = boxes_xyxy.isfinite().all(dim=1)
    if options.classes is not None:
        keep &= torch.isin(label, label.new_tensor(options.classes))
    order = torch.nonzero(keep).squeeze(1)
    order = order[confidence[order].sort(descending=True, stable=True).indices]
    order = order[image[row[order]].sort(stable=True).indices]
    table = torch.cat((boxes_xyxy, confidence[:, None], label[:, None].float()), dim=1)
    return table[order], image[row[order]]


def _suppress(table: Tensor, options: NmsOptions) -> Tensor:
    """Return the rows of `table` [K, 6] (most confident first) that no better one suppresses."""
    if not len(table):
        return table
    # A candidate's fate hangs on better ones alone. So if the best few fill `max_det`, the rest cannot change a thing:
    # this bounds the pairs that are compared, with the same answer.
    considered = FIRST_CANDIDATES_PER_KEPT * options.max_det
    while True:
        kept = _kept(table[: min(considered, MAX_CANDIDATES)], options)
        if len(kept) >= options.max_det or considered >= min(len(table), MAX_CANDIDATES):
            return table[kept[: options.max_det]]
        considered *= 4


def _kept(table: Tensor, options: NmsOptions) -> Tensor:
    """Return the surviving rows of `table` [K, 6] (most confident first), int64 [k], ascending."""
    # Classes are separated by an offset: from 0 up, or a box that sticks out to the left would meet the class before
    # it; in float64, or the offset would eat the digits that decide near the threshold.
    boxes_xyxy = table[:, :4].double()
    boxes_xyxy = boxes_xyxy - boxes_xyxy.min()
    if not options.agnostic:
        boxes_xyxy = boxes_xyxy + table[:, 5:6].double() * (boxes_xyxy.max() + 1)
    kept = suppress_overlaps(boxes_xyxy, table[:, 4].double(), options.iou_thres)
    # Rows are ordered already; ordering the survivors by their place keeps equal confidences in a fixed order.
    return kept.sort().values
