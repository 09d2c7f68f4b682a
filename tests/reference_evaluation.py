"""Metrics as the reference's training computes them: input shapes shared by batches of 32 images of like shape.

Our evaluation gives every image the shape it needs by itself. The recorded results of trainings were not made so, and
the difference is not small (published weights, coco128 at 320 px: mAP50-95 0.290 instead of 0.286), so trainings are
compared under the shapes of the recording.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.eval_loader import PAD_STRIDES, EvalLoader
from accel_yolo.data.index import build_index
from accel_yolo.data.order import RectLayout
from accel_yolo.data.workers import Workers
from accel_yolo.engine.evaluate import EvalOptions, evaluate
from accel_yolo.engine.world import World
from accel_yolo.metrics.nms import NmsOptions
from accel_yolo.models.weights import detector_from_weights, load_weights

BATCH = 32


def reference_map(weights: Path, data: Path, imgsz: int) -> tuple[float, float]:
    """Return (mAP50, mAP50-95) of a weight file under the shapes of the reference's validation while training."""
    spec = load_data_spec(data)
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)
    layout = RectLayout.plan(index.sizes_hw, BATCH, imgsz=imgsz, pad_strides=PAD_STRIDES)
    shapes = np.zeros((len(index), 2), dtype=np.int64)
    for position, image in enumerate(layout.order.tolist()):
        shapes[image] = layout.shape_at(position)
    loader = EvalLoader(index, imgsz, shapes, BATCH, Workers())
    options = EvalOptions(NmsOptions(0.001, 0.6, multi_label=True))
    result = evaluate(detector_from_weights(load_weights(weights)), loader, options, World.start("cpu"))
    return result.ap.map50, result.ap.map50_95
