"""Labels of a planned sample: plan + annotations -> boxes. Pure, and without pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from accel_yolo.data.copy_paste import mirrored_boxes, mirrored_points
from accel_yolo.data.geometry import project_boxes, project_polygons, still_objects
from accel_yolo.data.plan import SamplePlan, Scene

BOX_SHARE_LEFT, POLYGON_SHARE_LEFT = 0.10, 0.01
"""Share of an object's area that a transform must leave; an outline tells more exactly what is left."""

EDGE_PX = 0.001
"""Boxes end this far inside the right and bottom border, so that no centre or corner ever lies on the border."""


class Annotations(Protocol):
    """What is known about the objects of every image."""

    def labels_of(self, index: int, /) -> np.ndarray:
        """Return [k, 5]: class, cx, cy, w, h (0..1)."""
        ...

    def polygons_of(self, index: int, /) -> list[np.ndarray]:
        """Return k outlines [v, 2] (0..1), one per label, empty for a plain box."""
        ...


@dataclass(frozen=True)
class Objects:
    """Objects on a canvas.

    Attributes:
        classes: float64 [k].
        boxes_xyxy: float64 [k, 4] canvas px.
        polygons: k outlines float64 [v, 2] canvas px, empty for a plain box.
    """

    classes: np.ndarray
    boxes_xyxy: np.ndarray
    polygons: list[np.ndarray]


def objects_on_canvas(scene: Scene, annotations: Annotations) -> Objects:
    """Return the objects of all tiles, clipped to their limits, before any is copied and before the warp."""
    found = [annotations.labels_of(tile.index) for tile in scene.tiles]
    counts = [len(rows) for rows in found]
    if not sum(counts):
        return Objects(np.zeros(0), np.zeros((0, 4)), [])
    # One row per object of what belongs to its tile: a few large operations instead of many small ones.
    frames = [np.concatenate((*tile.norm_to_canvas(), tile.limit_xyxy)) for tile in scene.tiles]
    scale, offset, least, most = np.split(np.repeat(frames, counts, axis=0), 4, axis=1)
    rows = np.concatenate(found).astype(np.float64)
    centre, half = rows[:, 1:3], rows[:, 3:5] / 2
    low, high = ((corner * scale + offset).clip(least, most) for corner in (centre - half, centre + half))
    boxes = np.concatenate((low, high), axis=1)
    outlines = [polygon for tile in scene.tiles for polygon in annotations.polygons_of(tile.index)]
    polygons = [
        (each * scale[n] + offset[n]).clip(least[n], most[n]) if len(each) else each for n, each in enumerate(outlines)
    ]
    return Objects(rows[:, 0], boxes, polygons)


def scene_labels(scene: Scene, annotations: Annotations) -> np.ndarray:
    """Return float64 [k, 5]: class, x1, y1, x2, y2 in output px of the objects a scene still shows."""
    objects = objects_on_canvas(scene, annotations)
    if scene.copy_paste is not None:
        objects = _with_copies(objects, scene)
    boxes = project_boxes(objects.boxes_xyxy, scene.matrix, scene.out_hw)
    outlined = np.array([len(polygon) > 0 for polygon in objects.polygons], dtype=bool)
    if outlined.any():
        outlines = [polygon for polygon in objects.polygons if len(polygon)]
        boxes[outlined] = project_polygons(outlines, scene.matrix, scene.out_hw)
    share_left: np.ndarray | float = np.where(outlined, POLYGON_SHARE_LEFT, BOX_SHARE_LEFT)
    kept = still_objects(objects.boxes_xyxy * scene.scale, boxes, share_left)
    return np.concatenate((objects.classes[kept, None], boxes[kept]), axis=1)


def labels_for(plan: SamplePlan, annotations: Annotations) -> np.ndarray:
    """Return the labels of a sample.

    Args:
        plan: the sample.
        annotations: the index of the split.

    Returns:
        float32 [k, 5]: class, cx, cy, w, h, as fractions of the output. k = 0 is allowed.
    """
    rows = scene_labels(plan.scene, annotations)
    if plan.mixup is not None:
        rows = np.concatenate((rows, scene_labels(plan.mixup.scene, annotations)))
    size = np.array((plan.out_hw[1], plan.out_hw[0]))
    low, high = rows[:, 1:3].clip(0, size - EDGE_PX) / size, rows[:, 3:5].clip(0, size - EDGE_PX) / size
    centre = (low + high) / 2
    if plan.flip_ud:
        centre[:, 1] = 1 - centre[:, 1]
    if plan.flip_lr:
        centre[:, 0] = 1 - centre[:, 0]
    return np.concatenate((rows[:, :1], centre, high - low), axis=1).astype(np.float32)


def _with_copies(objects: Objects, scene: Scene) -> Objects:
    """Return the objects and, after them, the mirrored copies that copy-paste adds."""
    width = scene.canvas_hw[1]
    pasted = scene.copy_paste.chosen(objects.boxes_xyxy, objects.polygons, width) if scene.copy_paste else []
    return Objects(
        np.concatenate((objects.classes, objects.classes[pasted])),
        np.concatenate((objects.boxes_xyxy, mirrored_boxes(objects.boxes_xyxy[pasted], width))),
        objects.polygons + [mirrored_points(objects.polygons[number], width) for number in pasted],
    )
