"""Pixels of a planned sample: plan + images -> one image, with OpenCV on the CPU."""

from __future__ import annotations

import cv2
import numpy as np

from accel_yolo.data.colour import jitter
from accel_yolo.data.geometry import is_affine
from accel_yolo.data.images import Load
from accel_yolo.data.labels import Annotations, objects_on_canvas
from accel_yolo.data.mosaic import Tile
from accel_yolo.data.plan import SamplePlan, Scene
from accel_yolo.letterbox import FILL


def render(
    plan: SamplePlan, load: Load, annotations: Annotations, into: np.ndarray | None = None, *, colour: bool = True
) -> np.ndarray:
    """Return the pixels of a sample.

    Args:
        plan: the sample.
        load: gives the resized images.
        annotations: the index of the split; only copy-paste looks at it, for the outlines.
        into: where to write, uint8 [H, W, 3], contiguous; None makes an array.
        colour: change the colours too; otherwise that is left to the device.

    Returns:
        RGB uint8 [H, W, 3], contiguous, of size `plan.out_hw`: `into` if that is given.

    Raises:
        DataError: an image cannot be read, or is not the one that was planned for.
    """
    if into is None:
        into = np.empty((*plan.out_hw, 3), dtype=np.uint8)
    image = _render_scene(plan.scene, load, annotations, into)
    if plan.mixup is not None:
        other = _render_scene(plan.mixup.scene, load, annotations, np.empty_like(into))
        ratio = plan.mixup.ratio
        # In float, because the sum is truncated: integer arithmetic of OpenCV would round it.
        image[...] = cv2.addWeighted(image, ratio, other, 1 - ratio, 0, dtype=cv2.CV_32F)
    if colour and plan.hsv_gains is not None:
        jitter(image, plan.hsv_gains)
    if plan.flip_ud or plan.flip_lr:
        cv2.flip(image, -1 if plan.flip_ud and plan.flip_lr else int(plan.flip_lr), dst=image)
    return into


def _render_scene(scene: Scene, load: Load, annotations: Annotations, into: np.ndarray) -> np.ndarray:
    """Return `into` with the scene in it."""
    canvas = into if not scene.is_warped else np.empty((*scene.canvas_hw, 3), dtype=np.uint8)
    canvas.fill(FILL)
    for tile in scene.tiles:
        _place(canvas, tile, load)
    if scene.copy_paste is not None:
        _paste_copies(canvas, scene, annotations)
    if not scene.is_warped:
        return into
    matrix, (height, width) = np.array(scene.matrix), scene.out_hw
    if is_affine(scene.matrix):
        return cv2.warpAffine(canvas, matrix[:2], (width, height), dst=into, borderValue=(FILL, FILL, FILL))
    return cv2.warpPerspective(canvas, matrix, (width, height), dst=into, borderValue=(FILL, FILL, FILL))


def _place(canvas: np.ndarray, tile: Tile, load: Load) -> None:
    x1, y1, x2, y2 = tile.canvas_xyxy
    left, top, right, bottom = tile.source_xyxy
    part, place = load(tile.index, slice(top, bottom))[:, left:right], canvas[y1:y2, x1:x2]
    if part.shape == place.shape:
        place[...] = part
    else:  # written in place: a rectangle of the canvas is as good to OpenCV as an image of its own
        cv2.resize(part, (x2 - x1, y2 - y1), dst=place, interpolation=cv2.INTER_LINEAR)


def _paste_copies(canvas: np.ndarray, scene: Scene, annotations: Annotations) -> None:
    """Overwrite the canvas, where outlines fall when it is mirrored, with its own mirror image."""
    objects = objects_on_canvas(scene, annotations)
    width = scene.canvas_hw[1]
    pasted = scene.copy_paste.chosen(objects.boxes_xyxy, objects.polygons, width) if scene.copy_paste else []
    if not pasted:
        return
    mask = np.zeros(canvas.shape[:2], dtype=np.uint8)
    for number in pasted:
        # One by one: filled together, overlapping outlines would cancel out.
        cv2.fillPoly(mask, [objects.polygons[number].astype(np.int32)], 1)
    selected = cv2.flip(mask, 1).astype(bool)
    canvas[selected] = cv2.flip(canvas, 1)[selected]
