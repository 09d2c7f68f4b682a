"""YOLO text labels: what is read, what is refused and with which line."""

from __future__ import annotations

import os

import numpy as np
import pytest

from accel_yolo.data.formats import yolo
from accel_yolo.data.formats.record import LabelRules, Labels
from accel_yolo.data.label_paths import label_path_of, label_paths_of
from accel_yolo.data.problems import Problem
from accel_yolo.errors import printable


def read(content: bytes, nc: int = 80, single_cls: bool = False, lenient: bool = False) -> tuple[Labels, list[Problem]]:
    names = tuple(f"class {number}" for number in range(nc))
    return yolo.parse_yolo(content, "a.txt", LabelRules(names, single_cls, lenient=lenient))


def parsed(content: bytes, nc: int = 80, single_cls: bool = False) -> Labels:
    labels, problems = read(content, nc, single_cls)
    assert problems == []
    return labels


def problem_of(content: bytes, nc: int = 80, single_cls: bool = False) -> Problem:
    return read(content, nc, single_cls)[1][0]


def test_a_box_line_is_read_as_written() -> None:
    labels = parsed(b"3 0.5 0.25 0.125 0.0625\n")
    assert labels.rows.dtype == np.float32
    assert labels.rows.tolist() == [[3, 0.5, 0.25, 0.125, 0.0625]]
    assert [len(polygon) for polygon in labels.polygons] == [0]


def test_byte_order_mark_crlf_tabs_blank_lines_and_no_final_newline_are_fine() -> None:
    labels = parsed(b"\xef\xbb\xbf0\t0.5\t0.5 0.1  0.1\r\n\r\n   \r\n1 0.5 0.5 0.2 0.2")
    assert labels.rows[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("content", [b"", b"\n", b"  \r\n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_objects(content: bytes) -> None:
    assert parsed(content).rows.shape == (0, 5)


def test_a_polygon_gives_its_extents_as_box_and_is_kept() -> None:
    labels = parsed(b"2 0.1 0.2 0.5 0.2 0.3 0.8\n")
    np.testing.assert_allclose(labels.rows, [[2, 0.3, 0.5, 0.4, 0.6]], rtol=1e-6)
    np.testing.assert_allclose(labels.polygons[0], [[0.1, 0.2], [0.5, 0.2], [0.3, 0.8]], rtol=1e-6)


def test_a_box_line_among_polygons_stays_a_box() -> None:
    labels = parsed(b"2 0.1 0.2 0.5 0.2 0.3 0.8\n1 0.5 0.5 0.1 0.1\n")
    np.testing.assert_allclose(labels.rows[1], [1, 0.5, 0.5, 0.1, 0.1], rtol=1e-6)
    assert [len(polygon) for polygon in labels.polygons] == [3, 0]


@pytest.mark.parametrize(
    ("line", "value", "rule"),
    [
        (b"0 0.5 x 0.1 0.1", "x", "every column must be a number"),
        (b"person 0.5 0.5 0.1 0.1", "person", "every column must be a number"),
        (b"0 0.5 nan 0.1 0.1", "nan", "every column must be a finite number"),
        (b"0 0.5 0.5 inf 0.1", "inf", "every column must be a finite number"),
        (b"0 0.5 0_5 0.1 0.1", "0_5", "every column must be a finite number"),
        (b"0 0.5 -0.1 0.1 0.1", "-0.1", "between 0 and 1"),
        (b"0 0.5 1.0001 0.1 0.1", "1.0001", "between 0 and 1"),
        (b"80 0.5 0.5 0.1 0.1", "80", "below the number of classes, 80"),
        (b"-1 0.5 0.5 0.1 0.1", "-1", "whole number from 0"),
        (b"1.5 0.5 0.5 0.1 0.1", "1.5", "whole number from 0"),
        (b"0 0.5 0.5 0.1", "4 columns", "5 columns"),
        (b"0 0.5 0.5 0.1 0.1 0.9", "6 columns", "5 columns"),
        (b"0 .1 .1 .2 .2 .3 .3 .4", "8 columns", "7, 9, ..."),
        (b"0", "1 columns", "5 columns"),
        (b"0 .1 .1 .2 .2 .3 2", "2", "between 0 and 1"),
        ("0 0.5 0.5 0.1 ०".encode(), "०", "every column must be a number"),
        (b"0 0.5 0.5 0.1 \xff", "\\xff", "every column must be a number"),
    ],
)
def test_a_bad_line_is_named_with_file_line_value_and_rule(line: bytes, value: str, rule: str) -> None:
    problem = problem_of(b"0 0.5 0.5 0.1 0.1\n\n" + line + b"\n")
    assert (problem.file, problem.line, problem.value) == ("a.txt", 3, value)
    assert rule in problem.rule
    assert problem.drops_image


def test_seven_columns_are_a_triangle() -> None:
    assert len(parsed(b"0 0.1 0.1 0.2 0.1 0.2 0.3").polygons[0]) == 3


def test_zero_area_boxes_are_accepted() -> None:
    assert len(parsed(b"0 0.5 0.5 0 0").rows) == 1


def test_a_class_written_as_a_float_without_fraction_is_accepted() -> None:
    assert parsed(b"7.0 0.5 0.5 0.1 0.1").rows[0, 0] == 7


def test_single_class_turns_every_class_into_zero_and_has_no_upper_bound() -> None:
    rows = parsed(b"7 0.5 0.5 0.1 0.1\n300 .1 .1 .2 .2 .1 .3", nc=1, single_cls=True).rows
    assert rows[:, 0].tolist() == [0, 0]
    assert problem_of(b"-1 0.5 0.5 0.1 0.1", nc=1, single_cls=True).value == "-1"


def test_without_duplicates_the_order_of_the_file_stays() -> None:
    assert parsed(b"5 .5 .5 .1 .1\n1 .5 .5 .1 .1\n3 .5 .5 .1 .1").rows[:, 0].tolist() == [5, 1, 3]


def test_duplicate_rows_are_removed_and_the_others_sorted() -> None:
    labels = parsed(b"5 .5 .5 .1 .1\n1 .1 .1 .2 .1 .2 .3\n5 .5 .5 .1 .1\n1 .0 .5 .1 .1")
    np.testing.assert_allclose(labels.rows[:, :2], [[1, 0.0], [1, 0.15], [5, 0.5]], atol=1e-6)
    assert labels.duplicates_removed == 1
    assert [len(polygon) for polygon in labels.polygons] == [0, 3, 0]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/d/images/x/images/a.b.JPG", "/d/images/x/labels/a.b.txt"),
        ("/d/myimages/a.png", "/d/myimages/a.txt"),
        ("/d/images", "/d/images.txt"),
        ("/images/a.tif", "/labels/a.txt"),
    ],
)
def test_the_last_images_folder_becomes_labels(image: str, label: str) -> None:
    assert label_path_of(image) == label


def test_the_label_files_of_many_images_are_those_of_each() -> None:
    images = ["/d/images/a.jpg", "/d/images/b.c.png", "/d/x.jpg", "/d/images/.jpg", "/d/images/..a.jpg", "a", "/a", ""]
    images += ["/images/e/a.tif", "/d/images/x/images/a.JPG", "x.y/name", "/d/images/only", "/d/images/caf\udce9.jpg"]
    assert label_paths_of(images) == [label_path_of(image) for image in images]


@pytest.mark.parametrize("content", [b"0 .5 .5 .1 .1\n3 .1 .2 0 1", b"\n1 1 0 .3 .3\r\n", b"7.0 .5 .5 .1 1e-3"])
def test_plain_boxes_are_read_at_once_as_they_are_line_by_line(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = parsed(content)
    monkeypatch.setattr(yolo, "_plain_boxes", lambda content, nc: None)
    line_by_line = parsed(content)
    np.testing.assert_array_equal(at_once.rows, line_by_line.rows)
    assert at_once.rows.dtype == line_by_line.rows.dtype
    assert len(at_once.polygons) == len(line_by_line.polygons)


def test_printed_names_are_one_line_of_text_whatever_bytes_they_hold() -> None:
    name = os.fsdecode(b"caf\xe9\n\x1b[31m.jpg")
    shown = str(Problem(name, 3, "a\nb", "rule"))
    assert shown == "caf\\xe9\\n\\x1b[31m.jpg:3: rule: a\\nb"
    shown.encode("utf-8")
    assert printable("schön.jpg") == "schön.jpg"
    assert len(printable("x" * 5000)) == 300
    assert printable("/a" + "x" * 5000 + "b.jpg").endswith("xb.jpg")
