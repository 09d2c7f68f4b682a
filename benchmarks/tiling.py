"""Prints what tiles find in images much larger than the network's input, by four ways to put them together.

    python benchmarks/tiling.py --weights yolov5n.pt --data coco128.yaml

The images are walls of labelled photographs side by side, as they are and enlarged, so that the borders of tiles run
through objects smaller and larger than a tile. The tiles go through the network once; each way gets the same boxes. A
box is right when it overlaps a label of its class by half and no better box took that label; a duplicate when a better
box took it; else wrong.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from arms import markdown
from numpy.typing import NDArray

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.images import read_image
from accel_yolo.data.index import build_index
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.inference.networks import load_network
from accel_yolo.inference.predictor import PredictOptions, Predictor
from accel_yolo.inference.tiles.merging import BoxTable, merged
from accel_yolo.inference.tiles.tiling import Tiling, planned_tiles

CELL_HW, ROWS, COLUMNS = (480, 640), 3, 4
SCALES, SIDE, OVERLAP, IOU = (1.0, 2.5), 640, 0.2, 0.45


@dataclass(frozen=True)
class Wall:
    """Photographs side by side, [H, W, 3], and their labels, [n, 5]: corners in px, class."""

    image: NDArray[np.uint8]
    labels: NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What all tiles of a wall and then the whole wall hold, and the tile of each box, [n, 4] px."""

    table: BoxTable
    home: NDArray[np.int64]
    wall: Wall
    tiles: int
    wall_s: float

    def part(self, chosen: NDArray[np.bool_]) -> Seen:
        return Seen(self.table[chosen], self.home[chosen], self.wall, self.tiles, self.wall_s)

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        height, width = self.wall.image.shape[:2]
        return (self.home == [0, 0, width, height]).all(axis=1)


def build_wall(index: SplitIndex, images: NDArray[np.int64], scale: float) -> Wall:
    wall = np.full((ROWS * CELL_HW[0], COLUMNS * CELL_HW[1], 3), 114, np.uint8)
    labels = []
    for place, number in enumerate(images.tolist()):
        photograph = read_image(index.paths[number])
        size_wh = np.array(photograph.shape[1::-1] * 2)
        photograph = photograph[: CELL_HW[0], : CELL_HW[1]]
        height, width = photograph.shape[:2]
        top, left = place // COLUMNS * CELL_HW[0], place % COLUMNS * CELL_HW[1]
        wall[top : top + height, left : left + width] = photograph
        rows = index.labels_of(number).astype(np.float64)
        corners = np.concatenate((rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2), axis=1) * size_wh
        corners = corners.clip(0, [width, height] * 2)
        inside = (corners[:, 2:] - corners[:, :2]).min(axis=1) > 4
        labels.append(np.column_stack((corners[inside] + [left, top, left, top], rows[inside, 0])))
    image = wall if scale == 1 else cv2.resize(wall, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return Wall(image, np.concatenate(labels) * [*[scale] * 4, 1])


def look(predictor: Predictor, wall: Wall) -> Seen:
    hw = wall.image.shape[0], wall.image.shape[1]
    plan = np.concatenate((planned_tiles(hw, Tiling(SIDE, OVERLAP)), [(0, 0, hw[1], hw[0])]))
    parts, started = [], time.perf_counter()
    for left, top, right, bottom in plan.tolist():
        found = predictor(wall.image[top:bottom, left:right], PredictOptions((SIDE, SIDE)))
        boxes = found.boxes_xyxy + np.array([left, top, left, top], np.float32)
        parts.append(BoxTable(boxes, found.confidences, found.classes))
    taken = time.perf_counter() - started
    return Seen(BoxTable.joined(parts), np.repeat(plan, [len(part) for part in parts], axis=0), wall, len(plan), taken)


def ours(seen: Seen) -> BoxTable:
    return merged(seen.table, seen.home, (seen.wall.image.shape[0], seen.wall.image.shape[1]), IOU)


def suppressed(seen: Seen) -> BoxTable:
    """Plain non-maximum suppression: nothing is known of tiles."""
    whole = np.array([0, 0, seen.wall.image.shape[1], seen.wall.image.shape[0]])
    return merged(seen.table, np.tile(whole, (len(seen.table), 1)), (int(whole[3]), int(whole[2])), IOU)


def merged_greedily(seen: Seen) -> BoxTable:
    """Greedy merging: a box takes in all weaker ones of its class that lie in it, or it in them, by more than half."""
    table = seen.table[np.argsort(-seen.table.confidences, kind="stable")]
    boxes, alive = table.boxes_xyxy.copy(), np.ones(len(table), dtype=bool)
    for place in range(len(table)):
        if not alive[place]:
            continue
        later = np.flatnonzero(alive & (table.classes == table.classes[place]))
        later = later[later > place]
        common, areas, area = shared(boxes[place], boxes[later])
        taken = later[common / np.minimum(areas, area) > 0.5]
        alive[taken] = False
        hull = np.concatenate((boxes[taken], boxes[place : place + 1]))
        boxes[place] = [*hull[:, :2].min(axis=0), *hull[:, 2:].max(axis=0)]
    return BoxTable(boxes[alive], table.confidences[alive], table.classes[alive])


def shared(box: NDArray, others: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the areas [n] that a box has in common with others [n, 4], theirs [n], and its own."""
    sides = np.minimum(box[2:4], others[:, 2:4]) - np.maximum(box[:2], others[:, :2])
    return sides.clip(0).prod(axis=1), (others[:, 2:4] - others[:, :2]).prod(axis=1), (box[2:4] - box[:2]).prod()


def counted(table: BoxTable, labels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many boxes are right, duplicates and wrong."""
    free, counts = np.ones(len(labels), dtype=bool), np.zeros(3, np.int64)
    for box, class_id in zip(table.boxes_xyxy, table.classes, strict=True):
        common, areas, area = shared(box, labels)
        overlap = common / (areas + area - common) * (labels[:, 4] == class_id)
        hits = np.flatnonzero(overlap >= 0.5)
        open_hits = hits[free[hits]]
        counts[0 if len(open_hits) else 1 if len(hits) else 2] += 1
        if len(open_hits):
            free[open_hits[np.argmax(overlap[open_hits])]] = False
    return counts


def everything(seen: Seen) -> NDArray[np.bool_]:
    return np.ones(len(seen.table), dtype=bool)


WAYS = {
    "the whole image once": (suppressed, lambda seen: seen.is_whole),
    "tiles and whole image, NMS": (suppressed, everything),
    "tiles and whole image, greedy merging by the smaller area": (merged_greedily, everything),
    "tiles and whole image (--tile 640)": (ours, everything),
    "tiles (--tile 640 --tiles-only)": (ours, lambda seen: ~seen.is_whole),
}


def row(name: str, seen: list[Seen], way: Callable[[Seen], BoxTable], chosen: Callable) -> list[object]:
    parts = [each.part(chosen(each)) for each in seen]
    started = time.perf_counter()
    tables = [way(part) for part in parts]
    cost_ms = (time.perf_counter() - started) / len(parts) * 1e3
    counts = [counted(table, each.wall.labels) for table, each in zip(tables, seen, strict=True)]
    right, twice, wrong = np.sum(counts, axis=0).tolist()
    recall, precision = right / sum(len(each.wall.labels) for each in seen), right / max(1, right + twice + wrong)
    return [name, recall, precision, twice, wrong, cost_ms]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="yolov5n.pt")
    parser.add_argument("--data", default="coco128")
    parser.add_argument("--walls", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(load_network((arguments.weights,), torch.device("cpu")))
    spec = load_data_spec(arguments.data, ("val",))
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=0)
    for scale in SCALES:
        picks = [
            np.random.default_rng(wall).permutation(len(index))[: ROWS * COLUMNS] for wall in range(arguments.walls)
        ]
        seen = [look(predictor, build_wall(index, images, scale)) for images in picks]
        height, width = seen[0].wall.image.shape[:2]
        labels, seconds = sum(len(each.wall.labels) for each in seen), float(np.mean([each.wall_s for each in seen]))
        cost = f"{seen[0].tiles} looks, {seconds:.2f} s a wall"
        title = f"{len(seen)} walls of {width} x {height} px, {labels} labels; {cost}"
        rows = [row(name, seen, *way) for name, way in WAYS.items()]
        print(markdown(title, ("way", "recall", "precision", "duplicates", "wrong", "ms to put together"), rows))


if __name__ == "__main__":
    main()
