"""Detections as other libraries hold them; those are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo.inference.runtimes.packages import optional

if TYPE_CHECKING:
    import supervision

    from accel_yolo.inference.results import Detections

CLASS_NAME = "class_name"
"""Where supervision looks for names."""


def to_supervision(found: Detections) -> supervision.Detections:
    """Return the objects as `supervision.Detections`, ready for its annotators.

    Raises:
        EnvironmentFault: supervision is not installed.
    """
    library = optional("supervision", "to_supervision()", None)
    tracks = getattr(found, "track_ids", None)
    return library.Detections(
        xyxy=found.boxes_xyxy.astype(np.float32).reshape(-1, 4),
        confidence=found.confidences.astype(np.float32),
        class_id=found.classes.astype(int),
        tracker_id=None if tracks is None else np.asarray(tracks, dtype=int),
        data={CLASS_NAME: np.array([found.name_of(int(label)) for label in found.classes], dtype=str)},
    )


def columns_of_supervision(given: supervision.Detections) -> tuple[NDArray, NDArray, NDArray, dict[int, str]]:
    """Return boxes [n, 4], confidences [n] (1 where none is given), classes [n] (0) and the names that are given."""
    count = len(given)
    scores = np.ones(count) if given.confidence is None else given.confidence
    classes = np.zeros(count) if given.class_id is None else given.class_id
    classes = np.asarray(classes, np.int64)
    names = np.asarray(given.data.get(CLASS_NAME, []), dtype=str).tolist()
    known = {int(label): name for label, name in zip(classes, names, strict=False)}
    boxes = np.asarray(given.xyxy, np.float32).reshape(-1, 4)
    return boxes, np.asarray(scores, np.float32), classes, known


def coco_rows(
    found: Detections, image_id: int | str, category_ids: Mapping[int, int] | None = None
) -> list[dict[str, Any]]:
    """Return one dict for each object as COCO's result files have them.

    Args:
        found: the objects of one image.
        image_id: number or name of the image in the annotation file.
        category_ids: class number -> category of the annotation file; None takes the class number.

    Returns:
        image_id, category_id, bbox [x, y, width, height] in px from the top left corner, score.
    """
    rows = []
    for one in found:
        x1, y1, x2, y2 = one.box_xyxy
        category = one.class_id if category_ids is None else category_ids[one.class_id]
        bbox = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
        rows.append({"image_id": image_id, "category_id": category, "bbox": bbox, "score": round(one.confidence, 5)})
    return rows
