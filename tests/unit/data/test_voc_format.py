"""Pascal VOC xml: what is read, what is refused and with which line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.formats.record import LabelRules, Labels
from accel_yolo.data.formats.voc import parse_voc
from accel_yolo.data.index import build_index
from accel_yolo.data.label_paths import VOC, label_path_of, label_paths_of
from accel_yolo.data.problems import Problem

SIZE_HW = 100, 200


def one(name: str = "dog", box: str = "20 10 60 50", more: str = "") -> str:
    corners = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
    return f"<object>\n<name>{name}</name>{more}<bndbox>{inside}</bndbox></object>\n"


def file_of(*objects: str, head: str = "") -> bytes:
    return f"<annotation>{head}\n{''.join(objects)}</annotation>".encode()


def read(content: bytes, lenient: bool = False, single_cls: bool = False) -> tuple[Labels, list[Problem]]:
    return parse_voc(content, "a.xml", LabelRules(("cat", "dog"), single_cls, "voc", lenient), SIZE_HW)


def test_boxes_are_normalised_and_classes_go_by_name() -> None:
    labels, problems = read(file_of(one(), one("cat", "0 0 200 100")))
    assert labels.rows.tolist() == np.array([[1, 0.2, 0.3, 0.2, 0.4], [0, 0.5, 0.5, 1, 1]], np.float32).tolist()
    assert problems == []


def test_files_of_the_challenges_count_pixels_from_one() -> None:
    head = "<source><annotation>PASCAL VOC2007</annotation></source>"
    labels, _ = read(file_of(one(box="21 11 60 50"), head=head))
    assert labels.rows.tolist() == read(file_of(one()))[0].rows.tolist()


def test_difficult_objects_are_left_out_and_all_classes_may_be_one() -> None:
    labels, problems = read(file_of(one(more="<difficult>1</difficult>"), one("bird")), single_cls=True)
    assert (labels.rows[:, 0].tolist(), problems) == ([0], [])


def test_an_outline_is_read_in_the_form_of_labelling_services() -> None:
    points = "<polygon><x1>20</x1><y1>10</y1><x2>60</x2><y2>10</y2><x3>40</x3><y3>50</y3></polygon>"
    labels, _ = read(file_of(one().replace("</object>", f"{points}</object>")))
    assert (labels.polygons[0] * (200, 100)).round(4).tolist() == [[20, 10], [60, 10], [40, 50]]


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (b"", 1, "not an XML file"),
        (b"<annotation>\n<object>", 2, "not an XML file"),
        (b"<a/>", 1, "an annotation file begins with <annotation>"),
        (b'<?xml version="1.0" encoding="nonsense"?><annotation/>', 1, "not in the encoding that it names"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', 0, "XML with entities is not read"),
        (file_of(one(), one("dgo")), 4, "the class is none of the names of the data YAML (did you mean 'dog'?)"),
        (file_of(one(box="a 1 2 3")), 2, "<xmin> must be a number"),
        (file_of(one(box="nan 1 2 3")), 2, "<xmin> must be a number"),
        (file_of(one(box="60 10 20 50")), 2, "a box must not have a negative side"),
        (file_of(one(box="20 10 260 50")), 2, "the box must lie in the image of 200 x 100 px"),
        (file_of("<object><name>dog</name></object>"), 2, "an object needs a <bndbox>"),
        (
            file_of(one(), head="<size><width>9</width><height>8</height></size>"), 1,
            "the annotation is of an image of another size; this one has 200 x 100 px",
        ),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_named_with_its_line(content: bytes, line: int, told: str) -> None:
    _, problems = read(content)
    assert [(problem.line, problem.rule) for problem in problems] == [(line, told)]


def test_a_lenient_reader_keeps_what_is_good_and_cuts_what_sticks_out() -> None:
    labels, problems = read(file_of(one("bird"), one(box="20 10 260 50"), one("cat")), lenient=True)
    assert len(problems) == 2
    assert labels.rows.tolist()[0] == pytest.approx([1, 0.55, 0.3, 0.9, 0.4])
    assert labels.rows[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "gb2312", "GBK", "utf-16", "latin-1", "shift_jis"])
def test_files_are_read_in_the_encoding_that_they_name(encoding: str) -> None:
    name = "Stra\xdfe" if encoding == "latin-1" else "\u8def"
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + file_of(one(name)).decode()
    labels, problems = parse_voc(text.encode(encoding), "a.xml", LabelRules((name,), False, "voc"), SIZE_HW)
    assert (problems, len(labels.rows)) == ([], 1)


@pytest.mark.parametrize(
    "size", ["<width>0</width>", "<width>\u00b2</width>", f"<width>{'9' * 5000}</width>", "<width/>"]
)
def test_a_size_that_says_nothing_is_not_looked_at(size: str) -> None:
    assert read(file_of(one(), head=f"<size>{size}<height>1</height></size>"))[1] == []


def test_an_outline_of_two_points_is_none() -> None:
    points = "<polygon><x1>20</x1><y1>10</y1><x2>60</x2><y2>50</y2></polygon>"
    labels, _ = read(file_of(one().replace("</object>", f"{points}</object>")))
    assert len(labels.polygons[0]) == 0


def voc_folder(root: Path, *, flags: str = "") -> None:
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for number, ending in enumerate((".jpg", ".png", ".jpg")):
        cv2.imwrite(str(root / "JPEGImages" / f"{number:06d}{ending}"), np.full((*SIZE_HW, 3), number, np.uint8))
        (root / "Annotations" / f"{number:06d}.xml").write_bytes(file_of(one()))
    (root / "ImageSets" / "Main" / "train.txt").write_text(f"000000{flags}\n000001{flags}\n\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("000002\n")


@pytest.mark.parametrize("flags", ["", "  1"])
def test_the_layout_of_the_challenges_is_recognised(tmp_path: Path, flags: str) -> None:
    voc_folder(tmp_path / "VOC2007", flags=flags)
    data = tmp_path / "voc.yaml"
    data.write_text("train: VOC2007/ImageSets/Main/train.txt\nval: VOC2007/ImageSets/Main/val.txt\nnames: [cat, dog]\n")
    spec = load_data_spec(data)
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=1)
    assert spec.format == "voc"
    assert [Path(path).name for path in index.paths] == ["000000.jpg", "000001.png"]
    assert index.labels[:, 0].tolist() == [1, 1]


def test_a_name_with_a_space_is_found(tmp_path: Path) -> None:
    voc_folder(tmp_path)
    for path in (tmp_path / "JPEGImages" / "000002.jpg", tmp_path / "Annotations" / "000002.xml"):
        path.rename(path.with_stem("my image"))
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("my image\n")
    (tmp_path / "data.yaml").write_text(
        "train: ImageSets/Main/train.txt\nval: ImageSets/Main/val.txt\nnames: [cat, dog]\n"
    )
    spec = load_data_spec(tmp_path / "data.yaml")
    assert len(build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)) == 1


def test_annotations_beside_the_images_are_recognised(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / "a.jpg"), np.zeros((*SIZE_HW, 3), np.uint8))
        (tmp_path / split / "a.xml").write_bytes(file_of(one()))
    (tmp_path / "data.yaml").write_text("train: train\nval: val\nnames: [cat, dog]\n")
    spec = load_data_spec(tmp_path / "data.yaml")
    assert spec.format == "voc"
    assert len(build_index(spec, "val", single_cls=False, bad_data="fail", workers=1).labels) == 1


@pytest.mark.parametrize(
    ("images", "folder"), [("JPEGImages", "Annotations"), ("images", "annotations"), ("images", "labels")]
)
def test_annotations_are_looked_for_where_tools_put_them(tmp_path: Path, images: str, folder: str) -> None:
    (tmp_path / folder / "deep").mkdir(parents=True)
    path = str(tmp_path / images / "deep" / "x.y.jpg")
    assert label_path_of(path, VOC) == str(tmp_path / folder / "deep" / "x.y.xml") == label_paths_of([path], VOC)[0]
