"""What exported models are given and what they answer, whatever runs them; without torch."""

# B images, N predictions per image, C classes, K rows per image after NMS in the graph

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_yolo import console
from accel_yolo.errors import CheckpointError
from accel_yolo.inference.runtimes.description import FOREIGN, Description, NmsInGraph
from accel_yolo.metrics.nms_options import NmsOptions


def batches_of(images: int, size: int | None) -> Iterator[tuple[slice | list[int], int]]:
    """Yield the places of the images of each batch, and how many of its answers count.

    Args:
        images: how many there are.
        size: what a file of fixed batch takes: the last image fills up the last batch; None takes all at once.
    """
    size = images if size is None else size
    for start in range(0, images, max(size, 1)):
        wanted = min(size, images - start)
        full = slice(start, start + size)
        yield full if wanted == size else [min(start + n, images - 1) for n in range(size)], wanted


def check_answer(shape: Sequence[int], images: int, description: Description, where: str) -> None:
    """Check the shape of what a runtime answered to a batch. Raises CheckpointError."""
    if len(shape) != 3 or shape[0] != images or shape[2] != description.columns:
        what = f"{'x'.join(map(str, shape))} instead of {images}xNx{description.columns}"
        raise CheckpointError("not the output of a detector of this family", where, what, "export it again")


def as_predictions(rows: NDArray[Any], classes: int, where: str) -> NDArray[np.float32]:
    """Return predictions [k, 5 + C] that say what detections of NMS in a graph say: one class each, with certainty.

    Args:
        rows: [k, 6]: x1, y1, x2, y2, confidence, class.
        classes: C.
        where: the file, for messages.

    Raises:
        CheckpointError: a class that the file does not name.
    """
    kinds = rows[:, 5]
    unknown = kinds[~((kinds >= 0) & (kinds < classes))]
    if len(unknown):
        what = f"class {unknown[0]:g} of {classes}"
        raise CheckpointError("the graph finds a class that the file does not name", where, what, FOREIGN)
    centre, size = (rows[:, :2] + rows[:, 2:4]) / 2, rows[:, 2:4] - rows[:, :2]
    certain = kinds.astype(np.int64)[:, None] == np.arange(classes)
    return np.concatenate((centre, size, rows[:, 4:5], certain), axis=1, dtype=np.float32)


class DroppedByGraph:
    """Says once what is asked for and what NMS in a graph has thrown away.

    Args:
        nms: the suppression in the graph; None has nothing to say.
        where: the file.
    """

    def __init__(self, nms: NmsInGraph | None, where: str) -> None:
        self._nms, self._where, self._has_warned, self._was_full = nms, where, False, False

    def warn(self, options: NmsOptions) -> None:
        """Warn, the first time that something is asked for that was dropped."""
        baked = self._nms
        if baked is None or self._has_warned:
            return
        lost = []
        if options.conf_thres < baked.conf_thres:
            lost.append(f"confidence above {baked.conf_thres}")
        if options.iou_thres > baked.iou_thres:
            lost.append(f"overlap up to {baked.iou_thres}")
        if lost:
            self._has_warned = True
            console.warn(f"NMS in the graph of {self._where} keeps {', '.join(lost)}: what it dropped is not seen")

    def warn_if_full(self, most: int) -> None:
        """Warn, the first time that an image has as many detections as the graph can give: there may be more.

        Args:
            most: detections of the image that has most.
        """
        if self._nms is not None and most >= self._nms.max_det and not self._was_full:
            self._was_full = True
            full = f"an image has all {most} detections that NMS in the graph of {self._where} can give"
            console.warn(f"{full}: there may be more; export with a larger --max-det")
