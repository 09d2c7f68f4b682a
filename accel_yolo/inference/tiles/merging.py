"""Objects found in overlapping tiles of an image, put together; pure."""

# n boxes, T tiles, k boxes that are kept

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]

AT_BORDER = 0.015
"""A box ends at the border of its tile when it is no further from it than this share of the tile's side: networks
guess the end of an object that is cut within a few pixels."""
INSIDE, AGREEING = 0.5, 0.5


@dataclass(frozen=True, eq=False)
class BoxTable:
    """Objects of one image.

    Attributes:
        boxes_xyxy: [n, 4] float32, corners in px of the image.
        confidences: [n] float32.
        classes: [n] int64.
    """

    boxes_xyxy: NDArray[np.float32]
    confidences: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.confidences)

    def __getitem__(self, chosen: NDArray) -> BoxTable:
        return BoxTable(self.boxes_xyxy[chosen], self.confidences[chosen], self.classes[chosen])

    @classmethod
    def joined(cls, parts: list[BoxTable]) -> BoxTable:
        """Return the objects of all parts, in their order."""
        columns = zip(*((part.boxes_xyxy, part.confidences, part.classes) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def merged(
    found: BoxTable, tiles_xyxy: NDArray[np.int64], source_hw: tuple[int, int], iou_thres: float, agnostic: bool = False
) -> BoxTable:
    """Return each object once, most confident first.

    A box that ends where its tile ends, inside the image, may be a piece of an object. Such boxes are trusted less:

    1. Pieces of one class from different tiles are one object when their parts in the area that both tiles show
       agree (IoU above 0.5). They become their common hull, with the highest confidence. Comparing only what both
       tiles show works however much larger than the overlap the object is, which the intersection over the smaller
       area (Akyon et al. 2022) does not.
    2. Whole boxes go through non-maximum suppression among themselves: the same object seen in two tiles.
    3. A piece goes when another box of its class covers it by more than half, or overlaps it like any other.

    Args:
        found: what all tiles hold, each tile's share free of duplicates.
        tiles_xyxy: [n, 4] int, for each object the tile in which it was found; the whole image is a tile too.
        source_hw: size of the image, px.
        iou_thres: a box that overlaps a better one of its class by more than this goes, 0..1.
        agnostic: boxes of different classes are compared too.
    """
    at_border = np.any(ends_at_border(found.boxes_xyxy, tiles_xyxy, source_hw), axis=1)
    labels = np.zeros_like(found.classes) if agnostic else found.classes
    pieces = np.flatnonzero(at_border)
    groups = _pieces_together(found.boxes_xyxy[pieces], tiles_xyxy[pieces], labels[pieces])
    hulls = [_hull(found[pieces[group]]) for group in groups]
    candidates = BoxTable.joined([found[~at_border], *hulls])
    is_piece = np.arange(len(candidates)) >= len(found) - len(pieces)
    # Whole boxes first; the most confident first among each kind; equal ones keep their order.
    order = np.lexsort((-candidates.confidences, is_piece))
    candidates, is_piece = candidates[order], is_piece[order]
    kept = candidates[_survivors(candidates, is_piece, iou_thres, agnostic)]
    return kept[np.argsort(-kept.confidences, kind="stable")]


def ends_at_border(boxes_xyxy: Boxes, tiles_xyxy: NDArray[np.int64], source_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Return [n, 4] whether the left, top, right, bottom of each box lies at a border of its tile that is none of the
    image, for boxes [n, 4] and their tiles [n, 4] in px of the image."""
    height, width = source_hw
    sides = tiles_xyxy[:, 2:] - tiles_xyxy[:, :2]
    near = np.abs(boxes_xyxy - tiles_xyxy) <= np.maximum(1.0, AT_BORDER * np.tile(sides, 2))
    return near & (tiles_xyxy != np.array([0, 0, width, height]))


def _pieces_together(boxes: Boxes, tiles: NDArray[np.int64], labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the pieces, by number, that are one object each; of one tile there is at most one piece in an object."""
    rows = []
    for piece in range(len(boxes) - 1):  # one row at a time: the square of the number of pieces may not fit into memory
        agreement = _agreement(boxes[piece], tiles[piece], boxes[piece + 1 :], tiles[piece + 1 :])
        others = np.flatnonzero((agreement > AGREEING) & (labels[piece + 1 :] == labels[piece]))
        rows += [(-float(agreement[other]), piece, piece + 1 + int(other)) for other in others]
    group_of = {piece: [piece] for piece in range(len(boxes))}
    for _, first, second in sorted(rows):  # those that agree most first
        one, other = group_of[first], group_of[second]
        if one is other or {tuple(tiles[piece]) for piece in one} & {tuple(tiles[piece]) for piece in other}:
            continue
        one += other
        group_of.update(dict.fromkeys(other, one))
    return [np.array(group) for piece, group in group_of.items() if piece == min(group)]


def _agreement(box: Boxes, tile: NDArray[np.int64], others: Boxes, tiles: NDArray[np.int64]) -> Boxes:
    """Return [m] the IoU of a box and each of `others` [m, 4] in the area that their tiles have in common."""
    shared = _clipped(tile, tiles)
    one, other = _clipped(box, shared), _clipped(others, shared)
    common = _areas(_clipped(one, other))
    iou = common / np.maximum(_areas(one) + _areas(other) - common, 1e-7)
    return np.where((tiles == tile).all(axis=1), 0.0, iou)


def _hull(pieces: BoxTable) -> BoxTable:
    """Return one object: the hull of the boxes, with the class and confidence of the most confident."""
    corners = np.concatenate((pieces.boxes_xyxy[:, :2].min(axis=0), pieces.boxes_xyxy[:, 2:].max(axis=0)))
    best = int(np.argmax(pieces.confidences))
    return BoxTable(corners[None], pieces.confidences[best : best + 1], pieces.classes[best : best + 1])


def _survivors(found: BoxTable, is_piece: NDArray[np.bool_], iou_thres: float, agnostic: bool) -> NDArray[np.bool_]:
    """Return [n] which boxes no better one replaces; better ones come first."""
    alive = np.ones(len(found), dtype=bool)
    areas = _areas(found.boxes_xyxy)
    for place in range(len(found)):
        if not alive[place]:
            continue
        later = np.flatnonzero(alive[place + 1 :]) + place + 1
        if not agnostic:
            later = later[found.classes[later] == found.classes[place]]
        common = _areas(_clipped(found.boxes_xyxy[place], found.boxes_xyxy[later]))
        overlap = common / np.maximum(areas[place] + areas[later] - common, 1e-7)
        covered = common / np.maximum(areas[later], 1e-7)
        alive[later[(overlap > iou_thres) | (is_piece[later] & (covered > INSIDE))]] = False
    return alive


def _clipped(boxes: NDArray, areas: NDArray) -> NDArray:
    """Return boxes [..., 4] cut to areas [..., 4]; x2 < x1 or y2 < y1 where nothing is left."""
    low = np.maximum(boxes[..., :2], areas[..., :2])
    return np.concatenate((low, np.minimum(boxes[..., 2:], areas[..., 2:])), axis=-1)


def _areas(boxes: NDArray) -> NDArray:
    """Return the areas [...] of boxes [..., 4]; 0 where a box is empty."""
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
