"""Evaluation batches: formed globally from images of one shape, dealt to the processes whole.

The shape of an image depends on that image alone, and an image always meets the same neighbours: no metric depends on
how many processes work, and none but rounding on the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accel_yolo.data.crew import Task
from accel_yolo.data.images import Load
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.ring import Ring
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.data.workers import Workers
from accel_yolo.letterbox import Letterbox, resized_hw

PAD_STRIDES = 0.5
"""Evaluation inputs carry half a stride of padding more than the image needs, as the reference's do."""


@dataclass(frozen=True)
class EvalBatch:
    """Images of one shape.

    Attributes:
        images: [B, H, W, 3] uint8 RGB. They lie in memory that is written again when the batch after the next one
            is asked for.
        ids: the B image numbers in the index.
        gains_xy: [B, 2] float64, resize factors by which boxes are mapped back.
        pads_xy: [B, 2] float64, padding in px that is taken off first.
        targets: [T, 6] float32: image in the batch, class, cx, cy, w, h (0..1 of the network input).
    """

    images: Tensor
    ids: tuple[int, ...]
    gains_xy: np.ndarray
    pads_xy: np.ndarray
    targets: np.ndarray


def eval_hw(source_hw: tuple[int, int], imgsz: int, stride: int) -> tuple[int, int]:
    """Return the network input (height, width) in px of an image of size `source_hw`."""
    aspect = source_hw[0] / source_hw[1]
    fractions = (aspect, 1.0) if aspect < 1 else (1.0, 1 / aspect)
    height, width = (math.ceil(fraction * imgsz / stride + PAD_STRIDES) * stride for fraction in fractions)
    return height, width


def eval_shapes(sizes_hw: np.ndarray, imgsz: int, stride: int, fixed_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Return the network input (height, width) in px of every image, int64 [n, 2], each from its own size alone.

    Args:
        sizes_hw: [n, 2] sizes of the images, px.
        imgsz: longer side of the content, px.
        stride: inputs are multiples of it.
        fixed_hw: the only input that the network takes.
    """
    if fixed_hw is not None:
        return np.tile(np.array(fixed_hw, dtype=np.int64), (len(sizes_hw), 1))
    shapes = [eval_hw((height, width), imgsz, stride) for height, width in sizes_hw.tolist()]
    return np.array(shapes, dtype=np.int64).reshape(-1, 2)


def eval_batches(shapes_hw: np.ndarray, batch: int) -> list[list[int]]:
    """Return the global batches: images of one shape in index order, at most `batch` each."""
    by_shape: dict[tuple[int, int], list[int]] = {}
    for image, (height, width) in enumerate(shapes_hw.tolist()):
        by_shape.setdefault((height, width), []).append(image)
    return [
        members[start : start + batch]
        for _, members in sorted(by_shape.items())
        for start in range(0, len(members), batch)
    ]


class EvalLoader:
    """The evaluation batches of one process.

    Args:
        index: the split.
        imgsz: longer side of the content, px.
        shapes_hw: [n, 2] network input of every image, px: see `eval_shapes`.
        batch: most images of one batch.
        workers: how batches are made.
        load: number of an image -> RGB uint8 [h, w, 3], its longer side at `imgsz`; None decodes the file.
    """

    def __init__(
        self,
        index: SplitIndex,
        imgsz: int,
        shapes_hw: np.ndarray,
        batch: int,
        workers: Workers,
        load: Load | None = None,
    ) -> None:
        self.index = index
        self.batches = eval_batches(shapes_hw, batch)
        self._samples = _EvalSamples(index, imgsz, shapes_hw, load or DecodedImages(index, imgsz, augmenting=False))
        height, width = shapes_hw.max(0) if len(shapes_hw) else (0, 0)
        largest = max(map(len, self.batches), default=0) * int(height) * int(width) * 3
        self._ring = Ring(self._samples, largest, workers)

    def share(self, rank: int, world: int) -> Iterator[EvalBatch]:
        """Yield every `world`-th batch, starting with batch `rank`.

        Raises:
            DataError: an image could not be read; named.
            EnvironmentFault: a worker is gone.
        """
        tasks = []
        for turn, members in enumerate(self.batches[rank::world]):
            height, width = self._samples.shapes_hw[members[0]].tolist()
            # Batches may be small: workers take turns at being the one that has an image more.
            tasks.append(Task((len(members), height, width, 3), tuple(members), turn=turn))
        for task, images, placed in self._ring.rendered(tasks):
            yield _collected(task, images, placed)


@dataclass(frozen=True)
class _Placed:
    gain_xy: tuple[float, float]
    pad_xy: tuple[float, float]
    targets: np.ndarray


class _EvalSamples:
    def __init__(self, index: SplitIndex, imgsz: int, shapes_hw: np.ndarray, load: Load) -> None:
        self.index, self.imgsz, self.shapes_hw, self._load = index, imgsz, shapes_hw, load

    def render(self, image_id: int, into: np.ndarray) -> _Placed:
        height, width = self.index.sizes_hw[image_id].tolist()
        image = self._load(image_id)
        target_h, target_w = self.shapes_hw[image_id].tolist()
        box = Letterbox.plan(resized_hw((height, width), self.imgsz), (target_h, target_w), scaleup=False)
        labels = self.index.labels_of(image_id)
        out_h, out_w = box.out_hw
        scale = np.array([box.content_hw[1], box.content_hw[0]] * 2, dtype=np.float64)
        offset = np.array([box.left, box.top, 0, 0], dtype=np.float64)
        boxes = (labels[:, 1:5] * scale + offset) / np.array([out_w, out_h, out_w, out_h])
        targets = np.concatenate((labels[:, :1], boxes), 1).astype(np.float32)
        gain_xy = box.content_hw[1] / width, box.content_hw[0] / height
        # The padding taken off is the unrounded one: kept, because published numbers were made so.
        box.apply(image, into)
        return _Placed(gain_xy, box.pad_xy, targets)


def _collected(task: Task, images: np.ndarray, placed: list[_Placed]) -> EvalBatch:
    rows = [np.insert(item.targets, 0, place, axis=1) for place, item in enumerate(placed)]
    return EvalBatch(
        images=torch.from_numpy(images),
        ids=task.keys,
        gains_xy=np.array([item.gain_xy for item in placed]),
        pads_xy=np.array([item.pad_xy for item in placed]),
        targets=np.concatenate(rows).astype(np.float32),
    )
