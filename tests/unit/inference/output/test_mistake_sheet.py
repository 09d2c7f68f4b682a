"""The worst images side by side: what is missed, false and found can be told apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.data.formats.record import Labels
from accel_yolo.data.split_index import Record, SplitIndex, assemble, part_of
from accel_yolo.inference.output.mistake_sheet import COLUMNS, FALSE, FOUND, MISSED, TILE_PX, caption_of, mistake_sheet
from accel_yolo.metrics.mistakes import Mistakes, mistakes

NAMES = {0: "dog", 1: "$cat_{2}$"}
HEIGHT, WIDTH = 280, 560  # shown as they are: their longer side is that of a tile


@pytest.fixture
def index(tmp_path: Path) -> SplitIndex:
    """Grey images with two objects each: in the left half and, of another class, in the right half."""
    rows = np.array([[0, 0.25, 0.5, 0.2, 0.4], [1, 0.75, 0.5, 0.2, 0.4]], np.float32)
    records = []
    for number in range(COLUMNS + 1):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
        labels = Labels(rows, (np.zeros((0, 2), np.float32),) * 2)
        records.append(Record(str(path), (HEIGHT, WIDTH), labels, True, bytes(16)))
    return assemble([part_of(records)], str(tmp_path), dropped=0)


def found_in(index: SplitIndex, *rows: tuple[float, ...]) -> list[Mistakes]:
    """Rows: image, x1, y1, x2, y2, confidence, class."""
    return list(mistakes(np.array(rows).reshape(-1, 7), index.labels_px(), len(index), 0.1))


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def tile_of(index: SplitIndex, mistake: Mistakes) -> np.ndarray:
    """Return the only tile of a sheet, without the legend."""
    return mistake_sheet(index, [mistake], ["0.png"], NAMES)[52:]


DOG, CAT_AS_DOG, NOTHING = (0, 84, 84, 196, 196, 0.9, 0), (0, 364, 84, 476, 196, 0.8, 0), (0, 10, 10, 50, 50, 0.7, 1)


def test_each_kind_has_a_colour_of_its_own(index: SplitIndex) -> None:
    kinds = {
        (DOG,): (True, True, False),
        (NOTHING,): (False, True, True),
        (DOG, CAT_AS_DOG): (True, True, True),
        (): (False, True, False),
    }
    for rows, (found, missed, false) in kinds.items():
        picture = tile_of(index, found_in(index, *rows)[0])
        assert (has(picture, FOUND), has(picture, MISSED), has(picture, FALSE)) == (found, missed, false), rows


def test_missed_objects_are_where_their_label_is(index: SplitIndex) -> None:
    picture = tile_of(index, found_in(index, DOG)[0])
    columns = np.flatnonzero((picture == MISSED).all(axis=-1).any(axis=0))
    assert abs(columns.min() - (0.65 * WIDTH + 6)) < 4 and abs(columns.max() - (0.85 * WIDTH + 6)) < 4


def test_captions_count_what_is_wrong(index: SplitIndex) -> None:
    assert caption_of(found_in(index)[0]) == "2 missed"
    assert caption_of(found_in(index, DOG, CAT_AS_DOG)[0]) == "1 missed, 1 false, 1 misnamed"


def test_images_lie_in_rows_of_four_and_long_names_stay_inside(index: SplitIndex) -> None:
    everything = found_in(index)
    sheet = mistake_sheet(index, everything, ["x" * 300] * len(everything), NAMES)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert COLUMNS * TILE_PX < sheet.shape[1] < COLUMNS * (TILE_PX + 10)
    assert sheet.shape[0] < 2.5 * (HEIGHT + 40)  # rows are as high as their images, not as a square
