"""Non-maximum suppression of arrays: what `metrics.nms` does with tensors, where torch is not installed."""

# N predictions of an image, C classes, R rows above the threshold, K candidates (row, class)

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from accel_yolo.metrics.nms_options import FIRST_CANDIDATES_PER_KEPT, MAX_CANDIDATES, NmsOptions

Floats = NDArray[np.float32]


def suppressed_arrays(decoded: Floats, options: NmsOptions) -> Floats:
    """Return the boxes kept of one image, most confident first: see `metrics.nms.non_max_suppression`.

    Args:
        decoded: [N, 5+C] float; centre x, centre y, width, height in network-input pixels, objectness and class
            probabilities in 0..1.
        options: thresholds and filters.

    Returns:
        [k, 6] float32, k <= max_det: x1, y1, x2, y2 in network-input pixels, confidence, class.
    """
    table = _candidates(decoded[decoded[:, 4] > options.conf_thres].astype(np.float32), options)
    # As there: if the best few fill the places, the others cannot change the answer.
    considered = FIRST_CANDIDATES_PER_KEPT * options.max_det
    while len(table):
        kept = _kept(table[: min(considered, MAX_CANDIDATES)], options)
        if len(kept) >= options.max_det or considered >= min(len(table), MAX_CANDIDATES):
            return table[kept[: options.max_det]]
        considered *= 4
    return table


def _candidates(rows: Floats, options: NmsOptions) -> Floats:
    """Return [K, 6] x1, y1, x2, y2, confidence, class of rows [R, 5+C], most confident first."""
    scores = rows[:, 5:] * rows[:, 4:5]
    if options.multi_label and scores.shape[1] > 1:
        row, label = np.nonzero(scores > options.conf_thres)
    else:
        best = scores.argmax(axis=1)
        row = np.flatnonzero(scores[np.arange(len(scores)), best] > options.conf_thres)
        label = best[row]
    half = rows[row, 2:4] / 2
    columns = rows[row, :2] - half, rows[row, :2] + half, scores[row, label, None], label[:, None]
    table = np.concatenate(columns, axis=1).astype(np.float32)
    keep = np.isfinite(table[:, :4]).all(axis=1)
    if options.classes is not None:
        keep &= np.isin(label, options.classes)
    table = table[keep]
    return table[np.argsort(-table[:, 4], kind="stable")]


def _kept(table: Floats, options: NmsOptions) -> NDArray[np.int64]:
    """Return the surviving rows of `table` [K, 6] (most confident first), ascending."""
    corners = table[:, :4].astype(np.float64)
    corners -= corners.min()
    if not options.agnostic:
        corners += table[:, 5:6].astype(np.float64) * (corners.max() + 1)
    boxes_xywh = np.concatenate((corners[:, :2], corners[:, 2:] - corners[:, :2]), axis=1)
    # The scores are above 0, which is what its first threshold asks.
    kept = cv2.dnn.NMSBoxes(boxes_xywh.tolist(), table[:, 4].tolist(), 0.0, options.iou_thres)
    return np.sort(np.asarray(kept, np.int64).ravel())
