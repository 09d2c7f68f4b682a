"""Detection in large images: tile by tile, then put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_yolo.inference.results import Detections, Speed
from accel_yolo.inference.tiles.merging import BoxTable, merged
from accel_yolo.inference.tiles.tiling import Tiling, planned_tiles

if TYPE_CHECKING:
    from accel_yolo.inference.picture_detector import Picture, PredictOptions

    Detect = Callable[[Sequence[Picture], PredictOptions], list[Detections]]


def detect_tiled(
    detect: Detect, pictures: Sequence[Picture], options: PredictOptions, tiling: Tiling
) -> list[Detections]:
    """Return the objects of each picture, in its own pixels, as if the network had seen all of it at full resolution.

    A picture that fits into one tile is given to `detect` as it is.

    Args:
        detect: finds objects in pictures, without tiles.
        pictures: images of any size.
        options: what is asked for; holds for tiles and for the result.
        tiling: how pictures are cut.
    """
    plans = [planned_tiles(picture.image.shape[:2], tiling) for picture in pictures]
    small = [place for place, plan in enumerate(plans) if len(plan) == 1]
    untiled = dict(zip(small, detect([pictures[place] for place in small], options), strict=True))
    return [
        untiled[place] if place in untiled else _put_together(detect, picture, plans[place], options, tiling)
        for place, picture in enumerate(pictures)
    ]


def _put_together(
    detect: Detect, picture: Picture, plan: NDArray[np.int64], options: PredictOptions, tiling: Tiling
) -> Detections:
    image = picture.image
    height, width = image.shape[:2]
    if tiling.whole:
        plan = np.concatenate((plan, [(0, 0, width, height)]))
    seen = [found for tiles in _batches(plan, tiling.batch) for found in detect(_cut(picture, tiles), options)]
    parts = [_shifted(found, tile) for found, tile in zip(seen, plan, strict=True)]
    home = np.repeat(plan, [len(part) for part in parts], axis=0)
    kept = merged(BoxTable.joined(parts), home, (height, width), options.nms.iou_thres, options.nms.agnostic)
    kept = kept[np.arange(len(kept)) < options.nms.max_det]
    times = [(found.speed.prepare_ms, found.speed.network_ms, found.speed.nms_ms) for found in seen]
    return Detections(
        kept.boxes_xyxy,
        kept.confidences,
        kept.classes,
        seen[0].names,
        image,
        picture.path,
        picture.stem,
        input_hw=seen[0].input_hw,
        speed=Speed(*np.sum(times, axis=0).tolist()),
        tiles=len(plan),
    )


def _batches(plan: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(plan), size):
        yield plan[first : first + size]


def _cut(picture: Picture, tiles: NDArray[np.int64]) -> list[Picture]:
    # Views: the pixels are copied when a tile is resized for the network, not before.
    return [
        replace(picture, ready=None, image=picture.image[top:bottom, left:right])
        for left, top, right, bottom in tiles.tolist()
    ]


def _shifted(found: Detections, tile: NDArray[np.int64]) -> BoxTable:
    corner = np.tile(tile[:2], 2).astype(np.float32)
    return BoxTable(found.boxes_xyxy + corner, found.confidences, found.classes)
