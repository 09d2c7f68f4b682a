"""Objects found in overlapping tiles become one object each."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_yolo.inference.tiles.merging import BoxTable, ends_at_border, merged
from accel_yolo.inference.tiles.tiling import Tiling, planned_tiles

HW = (1000, 1000)
LEFT, RIGHT, WHOLE = (0, 0, 600, 1000), (400, 0, 1000, 1000), (0, 0, 1000, 1000)


def merge(*rows: tuple[tuple[int, ...], tuple[float, ...], float, int], agnostic: bool = False) -> list[list[float]]:
    """Rows are tile, box, confidence, class; what is kept comes back as box, confidence, class."""
    tiles, boxes, confidences, classes = (list(column) for column in zip(*rows, strict=True))
    found = BoxTable(np.array(boxes, np.float32), np.array(confidences, np.float32), np.array(classes))
    kept = merged(found, np.array(tiles), HW, 0.45, agnostic)
    columns = (kept.boxes_xyxy, kept.confidences[:, None], kept.classes[:, None])
    return np.concatenate(columns, axis=1).round(3).tolist()


def test_an_object_seen_whole_in_two_tiles_is_kept_once_as_the_more_confident_saw_it() -> None:
    kept = merge((LEFT, (420, 100, 560, 300), 0.8, 0), (RIGHT, (422, 104, 563, 298), 0.9, 0))
    assert kept == [[422, 104, 563, 298, 0.9, 0]]


def test_objects_side_by_side_and_objects_of_other_classes_stay() -> None:
    rows = (
        (LEFT, (420, 100, 480, 300), 0.8, 0),
        (RIGHT, (480, 100, 540, 300), 0.7, 0),
        (RIGHT, (420, 100, 480, 300), 0.6, 1),
    )
    assert [row[4] for row in merge(*rows)] == [0.8, 0.7, 0.6]
    assert [row[4] for row in merge(*rows, agnostic=True)] == [0.8, 0.7]


def test_a_piece_gives_way_to_the_whole_object_even_if_more_confident() -> None:
    whole, piece = (450, 100, 800, 300), (450, 100, 598, 300)
    assert merge((LEFT, piece, 0.9, 0), (RIGHT, whole, 0.4, 0)) == [[*whole, 0.4, 0]]
    assert merge((LEFT, piece, 0.9, 0), (WHOLE, whole, 0.4, 0)) == [[*whole, 0.4, 0]]
    assert len(merge((LEFT, piece, 0.9, 0), (RIGHT, whole, 0.4, 1))) == 2


def test_a_small_object_within_a_large_one_of_its_class_is_no_piece() -> None:
    adult, child = (100, 100, 500, 900), (200, 500, 300, 800)
    assert len(merge((LEFT, child, 0.5, 0), (WHOLE, adult, 0.9, 0))) == 2


def test_pieces_of_an_object_that_no_tile_holds_become_their_hull() -> None:
    # 700 px wide; the tiles have 200 px in common: neither piece covers half of the other.
    kept = merge((LEFT, (150, 100, 597, 300), 0.6, 0), (RIGHT, (404, 102, 850, 298), 0.7, 0))
    assert kept == [[150, 100, 850, 300, 0.7, 0]]


def test_pieces_at_the_same_border_that_do_not_agree_are_two_objects() -> None:
    kept = merge((LEFT, (150, 100, 600, 300), 0.6, 0), (RIGHT, (400, 350, 850, 500), 0.7, 0))
    assert len(kept) == 2


def test_pieces_of_one_tile_are_never_one_object() -> None:
    """The right tile saw two objects as one: the piece that agrees best is joined, the other stays as it is."""
    long, short = (0, 100, 600, 220), (350, 160, 600, 300)
    kept = merge((LEFT, long, 0.6, 0), (LEFT, short, 0.6, 0), (RIGHT, (400, 100, 850, 300), 0.7, 0))
    assert kept == [[350, 100, 850, 300, 0.7, 0], [*long, 0.6, 0]]


def test_an_object_over_the_corner_of_four_tiles_and_along_many_tiles_is_one() -> None:
    plan = planned_tiles(HW, Tiling(500, 0.2))
    for true in ((100, 200, 900, 700), (20, 300, 990, 380), (430, 430, 570, 570)):
        rows = []
        for tile in plan.tolist():
            box = (*np.maximum(true[:2], tile[:2]).tolist(), *np.minimum(true[2:], tile[2:]).tolist())
            if box[2] > box[0] and box[3] > box[1]:
                rows.append((tuple(tile), box, 0.5, 2))
        assert len(rows) > 2
        assert merge(*rows) == [[*true, 0.5, 2]]


@st.composite
def scenes(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Boxes of several sizes in a grid: none overlaps another."""
    cells = draw(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
    boxes = []
    for column, row in sorted(cells):
        width, height = draw(st.integers(12, 180)), draw(st.integers(12, 180))
        left, top = column * 200 + draw(st.integers(0, 199 - width)), row * 200 + draw(st.integers(0, 199 - height))
        boxes.append((left, top, left + width, top + height))
    return boxes


@settings(max_examples=60)
@given(scenes(), st.integers(250, 700), st.floats(0.05, 0.5), st.randoms())
def test_a_detector_that_sees_what_is_in_its_tile_gives_each_object_once(
    boxes: list[tuple[int, int, int, int]], side: int, overlap: float, random: object
) -> None:
    """Whatever the tiles, in whatever order: each object once and whole, none else."""
    rows = []
    for tile in planned_tiles(HW, Tiling(side, overlap)).tolist():
        for number, box in enumerate(boxes):
            seen = (*np.maximum(box[:2], tile[:2]).tolist(), *np.minimum(box[2:], tile[2:]).tolist())
            if seen[2] - seen[0] >= 1 and seen[3] - seen[1] >= 1:
                rows.append((tuple(tile), seen, 0.3 + 0.01 * number, 0))
    random.shuffle(rows)  # pyright: ignore[reportAttributeAccessIssue]
    assert sorted(row[:4] for row in merge(*rows)) == sorted(list(box) for box in boxes)


def test_only_borders_inside_the_image_make_a_piece() -> None:
    boxes = np.array([[0, 0, 100, 100], [500, 0, 600, 100], [300, 900, 400, 1000], [500, 200, 595, 300]], np.float32)
    ends = ends_at_border(boxes, np.tile(np.array(LEFT), (4, 1)), HW)
    assert ends.tolist() == [[False] * 4, [False, False, True, False], [False] * 4, [False, False, True, False]]


def test_nothing_found_is_nothing_kept() -> None:
    nothing = BoxTable(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(merged(nothing, np.zeros((0, 4), np.int64), HW, 0.45)) == 0
