"""Boxes and labels on images."""

from __future__ import annotations

import numpy as np
import pytest

from accel_yolo.inference.output.drawing import DrawOptions, class_colour, draw_boxes, text_colour
from accel_yolo.inference.results import Detection

GREY = 120


def blank(height: int = 200, width: int = 300) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def changed(image: np.ndarray) -> tuple[int, int, int, int]:
    """First and last changed row and column."""
    rows, columns = np.where((image != GREY).any(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_the_outline_has_the_wished_thickness_and_lies_on_the_box() -> None:
    box = Detection((50, 60, 150, 120), 0.9, 3, "bus")
    for thickness in (1, 3, 6):
        drawn = draw_boxes(blank(), [box], DrawOptions(thickness, labels=False))
        assert changed(drawn) == (60, 119, 50, 149)
        column = (drawn[:, 100] != GREY).any(axis=1)
        assert int(column.sum()) == 2 * thickness
        assert tuple(drawn[60, 100]) == class_colour(3)


def test_labels_can_be_hidden_and_confidences_left_out() -> None:
    box = Detection((50, 60, 150, 120), 0.9, 3, "bus")
    widths = []
    for options in (DrawOptions(), DrawOptions(confidences=False)):
        above = draw_boxes(blank(), [box], options)[:60]
        widths.append(int((above != GREY).any(axis=2).any(axis=0).sum()))
    assert widths[0] > widths[1] > 10
    hidden = draw_boxes(blank(), [box], DrawOptions(labels=False))
    assert not (hidden[:60] != GREY).any()


def test_a_followed_object_has_the_colour_of_its_track_and_its_number_before_its_name() -> None:
    box = Detection((50, 60, 150, 120), 0.9, 3, "bus", track_id=8)
    drawn = draw_boxes(blank(), [box], DrawOptions())
    assert tuple(drawn[119, 100]) == class_colour(8) != class_colour(3)
    assert np.array_equal(drawn, draw_boxes(blank(), [Detection(box.box_xyxy, 0.9, 8, "id 8 bus")], DrawOptions()))


@pytest.mark.parametrize("corner", [(0, 0), (280, 0), (280, 190), (0, 190), (150, 2)])
def test_labels_never_leave_the_image(corner: tuple[int, int]) -> None:
    x, y = corner
    box = Detection((x, y, x + 20, y + 10), 0.5, 7, "a rather long name")
    drawn = draw_boxes(blank(), [box], DrawOptions())
    with_label = (drawn != GREY).any(axis=2).sum()
    # The whole text is there wherever the box lies: as many label pixels as in the middle.
    middle = draw_boxes(blank(), [Detection((100, 100, 120, 110), 0.5, 7, "a rather long name")], DrawOptions())
    assert with_label >= 0.9 * (middle != GREY).any(axis=2).sum() - 20 * 10


@pytest.mark.parametrize("hw", [(1, 1), (5, 6), (12, 400), (400, 12)])
def test_images_of_any_size_can_be_drawn_on(hw: tuple[int, int]) -> None:
    box = Detection((0, 0, hw[1], hw[0]), 0.5, 0, "a very long class name indeed")
    assert draw_boxes(blank(*hw), [box], DrawOptions()).shape == (*hw, 3)


def test_the_image_itself_is_not_drawn_on() -> None:
    image = blank()
    draw_boxes(image, [Detection((0, 0, 100, 100), 0.5, 0, "x")], DrawOptions())
    assert (image == GREY).all()


def test_later_boxes_lie_on_top() -> None:
    box = (50, 60, 150, 120)
    drawn = draw_boxes(blank(), [Detection(box, 0.3, 1, "a"), Detection(box, 0.9, 2, "b")], DrawOptions(labels=False))
    assert tuple(drawn[60, 100]) == class_colour(2)


def test_neighbouring_classes_have_different_colours() -> None:
    colours = np.array([class_colour(label) for label in range(80)], dtype=float)
    assert len({tuple(colour) for colour in colours}) == 80
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 100


def test_text_stands_out_from_every_colour() -> None:
    def luminance(colour: tuple[int, int, int]) -> float:
        scaled = np.array(colour) / 255
        return float(
            np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    for label in range(200):
        lighter, darker = sorted((luminance(class_colour(label)), luminance(text_colour(class_colour(label)))))[::-1]
        assert (lighter + 0.05) / (darker + 0.05) > 4.5
