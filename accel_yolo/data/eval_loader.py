"""Evaluation batches: formed globally from images of one shape, dealt to the processes whole.

The shape of an image depends on that image alone, and an image always meets the same neighbours: no metric depends on
how many processes work, and none but rounding on the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from accel_yolo.data.images import read_resized
from accel_yolo.data.index import SplitIndex
from accel_yolo.data.workers import Guarded, Workers
from accel_yolo.errors import UserError
from accel_yolo.letterbox import Letterbox, resized_hw

PAD_STRIDES = 0.5
"""Evaluation inputs carry half a stride of padding more than the image needs, as the reference's do."""


@dataclass(frozen=True)
class EvalBatch:
    """Images of one shape.

    Attributes:
        images: [B, H, W, 3] uint8 RGB.
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

    def pin_memory(self) -> EvalBatch:
        """Return the batch with images in page-locked memory."""
        return replace(self, images=self.images.pin_memory())


def eval_hw(source_hw: tuple[int, int], imgsz: int, stride: int) -> tuple[int, int]:
    """Return the network input (height, width) in px of an image of size `source_hw`."""
    aspect = source_hw[0] / source_hw[1]
    fractions = (aspect, 1.0) if aspect < 1 else (1.0, 1 / aspect)
    height, width = (math.ceil(fraction * imgsz / stride + PAD_STRIDES) * stride for fraction in fractions)
    return height, width


def eval_shapes(sizes_hw: np.ndarray, imgsz: int, stride: int) -> np.ndarray:
    """Return the network input (height, width) in px of every image, int64 [n, 2], each from its own size alone."""
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
    """

    def __init__(self, index: SplitIndex, imgsz: int, shapes_hw: np.ndarray, batch: int, workers: Workers) -> None:
        self.index = index
        self.batches = eval_batches(shapes_hw, batch)
        self._samples = _EvalSamples(index, imgsz, shapes_hw)
        self._workers = workers
        self._loaders: dict[tuple[int, int], DataLoader] = {}

    def share(self, rank: int, world: int) -> Iterator[EvalBatch]:
        """Yield every `world`-th batch, starting with batch `rank`."""
        mine = self.batches[rank::world]
        if not mine:
            return
        if (rank, world) not in self._loaders:
            self._loaders[rank, world] = DataLoader(
                Guarded(self._samples),
                batch_sampler=mine,
                collate_fn=_collate_eval,
                **self._workers.at_most(len(mine)).options(),
            )
        for batch in self._loaders[rank, world]:
            if isinstance(batch, UserError):
                raise batch
            yield batch


@dataclass(frozen=True)
class _Placed:
    image: np.ndarray
    gain_xy: tuple[float, float]
    pad_xy: tuple[float, float]
    targets: np.ndarray


class _EvalSamples(Dataset):
    def __init__(self, index: SplitIndex, imgsz: int, shapes_hw: np.ndarray) -> None:
        self.index, self.imgsz, self.shapes_hw = index, imgsz, shapes_hw

    def __getitem__(self, image_id: int) -> _Placed:
        height, width = self.index.sizes_hw[image_id].tolist()
        image = read_resized(self.index.paths[image_id], self.imgsz, augmenting=False)
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
        return _Placed(box.apply(image), gain_xy, box.pad_xy, targets)


def _collate_eval(items: list[tuple[int, _Placed | UserError]]) -> EvalBatch | UserError:
    placed = []
    for _, item in items:
        if isinstance(item, UserError):
            return item
        placed.append(item)
    rows = [np.insert(item.targets, 0, place, axis=1) for place, item in enumerate(placed)]
    return EvalBatch(
        images=torch.from_numpy(np.stack([item.image for item in placed])),
        ids=tuple(image_id for image_id, _ in items),
        gains_xy=np.array([item.gain_xy for item in placed]),
        pads_xy=np.array([item.pad_xy for item in placed]),
        targets=np.concatenate(rows).astype(np.float32),
    )
