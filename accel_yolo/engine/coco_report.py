"""COCO's evaluation of a finished evaluation, and its results file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from accel_yolo.config.data_union import DataUnion
from accel_yolo.config.dataset import DataSpec
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.engine.evaluate import Evaluation
from accel_yolo.errors import DataError
from accel_yolo.metrics import coco


def coco_report(
    result: Evaluation, index: SplitIndex, union: DataUnion, names: dict[int, str], predictions: Path
) -> dict[str, Any]:
    """Write the COCO results JSON of an evaluation and return COCO's twelve numbers.

    On COCO itself the official annotations are the ground truth; elsewhere the labels of the data set are.

    Raises:
        DataError: COCO's annotations are missing, or an image is none of COCO's.
    """
    image_ids = [coco.image_id_of(path) for path in index.paths]
    table = coco.result_table(result.detections, coco.COCO_CATEGORY_IDS if union.is_coco else None)
    coco.save_results(predictions, table, image_ids)
    if union.is_coco:
        truth = coco.ground_truth_from_json(_official_annotations(union.specs[0]))
        table[:, 0] = _numbers(image_ids)[table[:, 0].astype(np.int64)]
        return asdict(coco.coco_metrics(truth, table))
    boxes = result.detections
    table = np.column_stack((boxes[:, :3], boxes[:, 3:5] - boxes[:, 1:3], boxes[:, 5:7]))
    return asdict(coco.coco_metrics(_truth(index, names), table))


def _official_annotations(spec: DataSpec) -> Path:
    return spec.val[0] if spec.format == "coco" else spec.root / "annotations" / "instances_val2017.json"


def _numbers(image_ids: list[int | str]) -> np.ndarray:
    names = [image_id for image_id in image_ids if isinstance(image_id, str)]
    if names:
        raise DataError("not an image of COCO", value=names[0], remedy="COCO's images are named by their numbers")
    return np.array(image_ids, dtype=np.int64)


def _truth(index: SplitIndex, names: dict[int, str]) -> Any:
    image_of = np.repeat(np.arange(len(index)), np.diff(index.label_starts))
    height, width = index.sizes_hw[image_of].astype(np.float64).T
    labels = index.labels.astype(np.float64)
    half = labels[:, 3:5] / 2
    low, high = labels[:, 1:3] - half, labels[:, 1:3] + half
    scale = np.column_stack((width, height))
    table = np.column_stack((image_of, labels[:, 0], low * scale, high * scale)).astype(np.float64)
    return coco.ground_truth_from_labels(np.arange(len(index)), index.sizes_hw, table, names)
