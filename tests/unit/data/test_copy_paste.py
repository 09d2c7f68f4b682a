"""Which objects are copied."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accel_yolo.data.copy_paste import CopyPaste, hidden_share, mirrored_boxes, mirrored_points
from accel_yolo.data.order import Stream

ALL = CopyPaste(1.0, seed=0, epoch=0, position=0, stream=Stream.COPY_PASTE)
NOTHING = np.zeros((0, 2))


def outline(box_xyxy: np.ndarray) -> np.ndarray:
    return box_xyxy[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2)


def test_only_outlined_objects_are_copied() -> None:
    boxes = np.array([(0.0, 0, 10, 10), (0, 20, 10, 30), (0, 40, 10, 50)])
    polygons = [NOTHING, outline(boxes[1]), NOTHING]
    assert ALL.chosen(boxes, polygons, 100) == [1]
    assert ALL.chosen(boxes, [NOTHING] * 3, 100) == []


def test_a_copy_that_would_hide_an_object_is_left_out() -> None:
    boxes = np.array([(0.0, 0, 10, 10), (90, 0, 100, 10)])
    assert ALL.chosen(boxes, [outline(box) for box in boxes], 100) == []


def test_thirty_percent_of_an_object_is_too_much() -> None:
    def accepted(overlap: float) -> bool:
        boxes = np.array([(0.0, 0, 10, 10), (100 - overlap, 0, 110 - overlap, 10)])
        return ALL.chosen(boxes, [outline(boxes[0]), NOTHING], 100) == [0]

    assert accepted(2.9)
    assert not accepted(3.1)


def test_earlier_copies_count_as_objects() -> None:
    boxes = np.array([(0.0, 0, 10, 10), (0, 0, 10, 10)])
    assert len(ALL.chosen(boxes, [outline(box) for box in boxes], 100)) == 1


def test_the_share_says_how_many_are_tried() -> None:
    boxes = np.array([(0.0, 20 * row, 10, 20 * row + 10) for row in range(10)])
    polygons = [outline(box) for box in boxes]
    for share, count in ((0.04, 0), (0.1, 1), (0.5, 5), (1.0, 10)):
        assert len(replace(ALL, share=share).chosen(boxes, polygons, 100)) == count


def test_the_choice_depends_on_the_key_alone() -> None:
    boxes = np.array([(0.0, 20 * row, 10, 20 * row + 10) for row in range(10)])
    polygons = [outline(box) for box in boxes]
    half = replace(ALL, share=0.5)
    assert half.chosen(boxes, polygons, 100) == half.chosen(boxes, polygons, 100)
    assert half.chosen(boxes, polygons, 100) != replace(half, position=1).chosen(boxes, polygons, 100)


def test_an_object_cut_off_by_the_canvas_is_not_copied() -> None:
    boxes = np.array([(0.0, 5, 0, 30)])
    assert ALL.chosen(boxes, [outline(boxes[0])], 100) == []


@given(st.floats(0, 60), st.floats(1, 40))
def test_mirroring_keeps_the_size_and_undoes_itself(left: float, width: float) -> None:
    box = np.array([(left, 3, left + width, 9)])
    mirrored = mirrored_boxes(box, 100)
    np.testing.assert_allclose(mirrored[:, 2] - mirrored[:, 0], width, atol=1e-9)
    np.testing.assert_allclose(mirrored_boxes(mirrored, 100), box, atol=1e-9)
    extents = mirrored_points(outline(box[0]), 100)
    np.testing.assert_allclose((extents.min(0), extents.max(0)), mirrored.reshape(2, 2), atol=1e-9)


def test_the_hidden_share_is_of_the_object_and_not_of_the_cover() -> None:
    cover = np.array([(0.0, 0, 100, 100)])
    objects = np.array([(90.0, 0, 110, 10), (200, 200, 210, 210), (5, 5, 5, 5)])
    np.testing.assert_allclose(hidden_share(cover, objects), (0.5, 0, 0), atol=1e-6)
