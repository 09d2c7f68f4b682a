"""Detections of a batch in the pixels of their images, and at which thresholds they are correct."""

# B images, K detections of the whole batch, T IoU thresholds

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from accel_yolo.boxes import cxcywh_to_xyxy
from accel_yolo.data.eval_loader import EvalBatch
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.inference.network import Candidates
from accel_yolo.metrics.matching import IOU_THRESHOLDS, match

DETECTION_COLUMNS = 7
"""Columns of the table before the thresholds: image, box, confidence, class."""
COLUMNS = DETECTION_COLUMNS + len(IOU_THRESHOLDS)


def matched_rows(kept: list[Tensor], batch: EvalBatch, index: SplitIndex, *, single_cls: bool) -> np.ndarray:
    """Return [K, 17] float64: image, x1, y1, x2, y2 (px of the original image), confidence, class, correct 0 or 1.

    Args:
        kept: B tensors [k, 6], what `non_max_suppression` returned for the batch; read from the device at once.
        batch: where they come from.
        index: sizes and labels of the images.
        single_cls: every detection and every label counts as class 0.
    """
    per_image = [len(rows) for rows in kept]
    rows = torch.cat(kept).cpu()
    place = np.repeat(np.arange(len(kept)), per_image)
    image = np.array(batch.ids)[place]
    sizes_wh = torch.from_numpy(index.sizes_hw[list(batch.ids)][:, ::-1].astype(np.float64))
    pad, gain, limit = (
        torch.from_numpy(np.tile(xy, 2)[place]) for xy in (batch.pads_xy, batch.gains_xy, sizes_wh.numpy())
    )
    boxes_xyxy = ((rows[:, :4].double() - pad) / gain).clamp(min=0).minimum(limit).float()
    classes = torch.zeros_like(rows[:, 5:6]) if single_cls else rows[:, 5:6]
    detections = torch.cat((boxes_xyxy, rows[:, 4:5], classes), 1)
    correct = [
        match(part, _labels(index, number, single_cls=single_cls))
        for number, part in zip(batch.ids, detections.split(per_image), strict=True)
    ]
    return np.concatenate((image[:, None], detections.numpy(), torch.cat(correct).numpy()), axis=1, dtype=np.float64)


def label_candidates(batch: EvalBatch, index: SplitIndex, classes: int) -> Candidates:
    """Return the labels of a batch as if the network had found them, objectness and class probability 1.

    Args:
        batch: the images.
        index: their labels.
        classes: how many classes the network knows.

    Returns:
        As `Network.candidates`, on the host.
    """
    per_image = [index.labels_of(number) for number in batch.ids]
    place = np.repeat(np.arange(len(per_image)), list(map(len, per_image)))
    labels = np.concatenate(per_image).astype(np.float64)
    # The inverse of what is done to detections, so that a label comes back as it was.
    scale = index.sizes_hw[list(batch.ids)][:, ::-1] * batch.gains_xy
    centre = labels[:, 1:3] * scale[place] + batch.pads_xy[place]
    rows = np.zeros((len(labels), 5 + classes))
    rows[:, :5] = np.column_stack((centre, labels[:, 3:5] * scale[place], np.ones(len(labels))))
    rows[np.arange(len(labels)), 5 + labels[:, 0].astype(np.int64)] = 1
    return torch.from_numpy(rows).float(), torch.from_numpy(place)


def _labels(index: SplitIndex, image: int, *, single_cls: bool) -> Tensor:
    """Return [m, 5] float32: class, x1, y1, x2, y2 in px of the original image."""
    height, width = index.sizes_hw[image].tolist()
    labels = torch.from_numpy(np.array(index.labels_of(image), dtype=np.float32))
    corners = cxcywh_to_xyxy(labels[:, 1:5]) * torch.tensor([width, height, width, height])
    classes = torch.zeros_like(labels[:, :1]) if single_cls else labels[:, :1]
    return torch.cat((classes, corners), 1)
