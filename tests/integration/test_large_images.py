"""Real objects in images much larger than the network's input: found tile by tile, each once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from accel_yolo.data.images import read_image
from accel_yolo.inference.networks import load_network
from accel_yolo.inference.predictor import Picture, PredictOptions, Predictor
from accel_yolo.inference.results import Detections
from accel_yolo.inference.tiles.tiling import Tiling, planned_tiles
from accel_yolo.metrics.nms_options import NmsOptions

TILING = Tiling(640, 0.2)
CELL_HW = (480, 640)


@dataclass(frozen=True)
class Wall:
    """Photographs side by side: `image` [H, W, 3], and the labelled objects in it, [n, 4] px and [n]."""

    image: np.ndarray
    boxes_xyxy: np.ndarray
    classes: np.ndarray


@pytest.fixture(scope="module")
def predictor(published_weights: Path) -> Predictor:
    return Predictor(load_network((str(published_weights),), torch.device("cpu")))


@pytest.fixture(scope="module")
def wall(reference_dir: Path) -> Wall:
    """Twelve photographs in their own size: the borders of the tiles run through many of their objects."""
    paths = sorted((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))
    rng = np.random.default_rng(0)
    image = np.full((3 * CELL_HW[0], 4 * CELL_HW[1], 3), 114, np.uint8)
    boxes, classes = [], []
    for place, number in enumerate(rng.permutation(len(paths))[:12]):
        pixels = read_image(str(paths[number]))
        size_wh = np.array(pixels.shape[1::-1] * 2)
        pixels = pixels[: CELL_HW[0], : CELL_HW[1]]
        height, width = pixels.shape[:2]
        top, left = place // 4 * CELL_HW[0], place % 4 * CELL_HW[1]
        image[top : top + height, left : left + width] = pixels
        labels = paths[number].parents[1] / "labels" / f"{paths[number].stem}.txt"
        rows = np.loadtxt(labels, ndmin=2) if labels.exists() else np.zeros((0, 5))
        corners = np.concatenate((rows[:, 1:3] - rows[:, 3:5] / 2, rows[:, 1:3] + rows[:, 3:5] / 2), axis=1) * size_wh
        corners = corners.clip(0, [width, height] * 2)
        inside = (corners[:, 2:] - corners[:, :2]).min(axis=1) > 4
        boxes.append(corners[inside] + [left, top, left, top])
        classes.append(rows[inside, 0])
    return Wall(image, np.concatenate(boxes), np.concatenate(classes))


@pytest.fixture(scope="module")
def tiled(predictor: Predictor, wall: Wall) -> Detections:
    return predictor(wall.image, PredictOptions(tiling=TILING))


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU [n, m]."""
    low, high = np.maximum(boxes[:, None, :2], others[None, :, :2]), np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = (high - low).clip(0).prod(axis=-1)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=-1) for each in (boxes, others)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def matches(found: Detections, wall: Wall) -> np.ndarray:
    """[n, m] whether an object found is a labelled one: of its class, overlapping by half."""
    return (overlaps(found.boxes_xyxy, wall.boxes_xyxy) >= 0.5) & (found.classes[:, None] == wall.classes)


def test_tiles_find_several_times_as_many_objects_as_one_look_and_none_twice(
    predictor: Predictor, wall: Wall, tiled: Detections
) -> None:
    once = predictor(wall.image, PredictOptions())
    recall_once, recall_tiled = (matches(found, wall).any(axis=0).mean() for found in (once, tiled))
    assert recall_tiled > 2.5 * recall_once, (recall_once, recall_tiled)
    assert recall_tiled > 0.4
    taken: set[int] = set()
    for labels in (np.flatnonzero(row).tolist() for row in matches(tiled, wall)):
        free = [label for label in labels if label not in taken]
        # A second box over a label that has its box, and over no other, is a duplicate.
        assert free or not labels
        taken.update(free[:1])


def test_objects_on_the_borders_of_tiles_are_found_as_well_as_others(
    predictor: Predictor, wall: Wall, tiled: Detections
) -> None:
    plan = planned_tiles((wall.image.shape[0], wall.image.shape[1]), TILING)
    inner_x = np.setdiff1d(plan[:, [0, 2]], [0, wall.image.shape[1]])
    inner_y = np.setdiff1d(plan[:, [1, 3]], [0, wall.image.shape[0]])
    left, top, right, bottom = (wall.boxes_xyxy[:, [side]] for side in range(4))
    cut = ((left < inner_x) & (inner_x < right)).any(axis=1) | ((top < inner_y) & (inner_y < bottom)).any(axis=1)
    assert cut.sum() > 20 and (~cut).sum() > 20
    found = matches(tiled, wall).any(axis=0)
    # Objects on borders are larger, so they are found more often.
    assert found[cut].mean() >= found[~cut].mean()
    # Pieces that were left over would be boxes that no photograph has when it is looked at alone.
    alone = [
        predictor(wall.image[y : y + CELL_HW[0], x : x + CELL_HW[1]], PredictOptions())
        for y in range(0, wall.image.shape[0], CELL_HW[0])
        for x in range(0, wall.image.shape[1], CELL_HW[1])
    ]
    assert abs(len(tiled) - sum(len(each) for each in alone)) < 0.3 * len(tiled)


@pytest.mark.slow
def test_the_result_does_not_depend_on_how_many_tiles_go_together(
    predictor: Predictor, wall: Wall, tiled: Detections
) -> None:
    for batch in (1, 7):
        other = predictor(wall.image, PredictOptions(tiling=Tiling(640, 0.2, batch=batch)))
        assert other.classes.tolist() == tiled.classes.tolist()
        np.testing.assert_allclose(other.boxes_xyxy, tiled.boxes_xyxy, atol=0.05)
        np.testing.assert_allclose(other.confidences, tiled.confidences, atol=1e-4)


def test_a_photograph_that_fits_into_a_tile_gives_the_very_same_result(predictor: Predictor, wall: Wall) -> None:
    photograph = np.ascontiguousarray(wall.image[: CELL_HW[0], : CELL_HW[1]])
    options = PredictOptions(nms=NmsOptions(conf_thres=0.1))
    plain, tiled = (
        predictor.detect([Picture(photograph)], each)[0]
        for each in (options, PredictOptions(nms=options.nms, tiling=TILING))
    )
    assert len(plain) > 0
    np.testing.assert_array_equal(plain.xyxy, tiled.xyxy)
