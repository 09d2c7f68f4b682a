"""Labels as each publisher writes them become YOLO's: tiny data sets in the published form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from accel_yolo.config.shipped import folder_of
from accel_yolo.data.listing import list_images
from accel_yolo.data.published import argoverse, globalwheat, json_stream, objects365, sku110k, visdrone, xview
from accel_yolo.data.published.json_stream import elements
from accel_yolo.data.published.labels_out import label_line
from accel_yolo.data.published.step import Step
from accel_yolo.errors import DataError, EnvironmentFault


def add_image(path: Path, wh: tuple[int, int] = (100, 50)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.zeros((wh[1], wh[0], 3), np.uint8))[1].tobytes())


def add_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def add_json(path: Path, content: object) -> None:
    add_text(path, json.dumps(content))


def prepared(steps: Callable[[Path], list[Step]], root: Path) -> None:
    """Make what is due; then nothing is due any more."""
    due = [step for step in steps(root) if step.is_due]
    assert due
    for step in due:
        step.make()
    assert not any(step.is_due for step in steps(root))


def rows(label_file: Path) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in label_file.read_text().splitlines()]


def listed(file: Path, root: Path) -> list[str]:
    images, problems = list_images([file])
    assert not problems
    return [Path(image).relative_to(root).as_posix() for image in images]


def names_of(name: str) -> list[str]:
    return list(yaml.safe_load((folder_of("data") / f"{name}.yaml").read_text())["names"].values())


# VisDrone


def test_visdrone_keeps_the_ten_classes_that_count(tmp_path: Path) -> None:
    folder = tmp_path / "VisDrone2019-DET-train"
    add_image(folder / "images/0000002_00005_d_0000014.jpg")
    lines = [
        "10,10,20,10,1,1,0,0",
        "60,20,80,40,1,10,0,0,",  # reaches out of the image; some files end each line with a comma
        "0,0,50,50,0,0,0,0",  # a region that is ignored
        "5,5,10,10,0,4,0,0",  # a score of 0: ignored
        "5,5,10,10,1,11,0,0",  # others
    ]
    add_text(folder / "annotations/0000002_00005_d_0000014.txt", "\n".join(lines) + "\n")
    prepared(visdrone.steps, tmp_path)
    assert rows(folder / "labels/0000002_00005_d_0000014.txt") == [[0, 0.2, 0.3, 0.2, 0.2], [9, 0.8, 0.7, 0.4, 0.6]]
    assert len(names_of("VisDrone")) == len(visdrone.CATEGORIES)


def test_a_line_that_is_no_visdrone_annotation_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "VisDrone2019-DET-val"
    add_image(folder / "images/a.jpg")
    add_text(folder / "annotations/a.txt", "1,1,5,5,1,1,0,0\n1 1 5 5\n")
    with pytest.raises(DataError, match=r"not a VisDrone annotation in .*a\.txt:2: '1 1 5 5'"):
        prepared(visdrone.steps, tmp_path)
    assert not (folder / "labels").exists()


# SKU-110K


def test_sku110k_has_one_folder_of_images_and_three_lists(tmp_path: Path) -> None:
    for split in sku110k.SPLITS:
        add_image(tmp_path / f"images/{split}_0.jpg")
        rows_of_image = f"{split}_0.jpg,0,0,50,25,object,100,50\n{split}_0.jpg,50,25,100,50,object,100,50\n"
        add_text(tmp_path / f"annotations/annotations_{split}.csv", rows_of_image)
    prepared(sku110k.steps, tmp_path)
    assert rows(tmp_path / "labels/val_0.txt") == [[0, 0.25, 0.25, 0.5, 0.5], [0, 0.75, 0.75, 0.5, 0.5]]
    assert listed(tmp_path / "test.txt", tmp_path) == ["images/test_0.jpg"]


# Global Wheat


def test_global_wheat_reads_boxes_of_an_image_from_one_cell(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add_image(tmp_path / f"images/{name}.png")
    header = "image_name,BoxesString,domain\n"
    add_text(tmp_path / "competition_train.csv", header + "a.png,0 0 50 25;50 25 100 50,Arvalis_1\nb,no_box,Usask_1\n")
    add_text(tmp_path / "competition_val.csv", header + "c,10 10 30 20,UQ_1\ngone.png,1 1 2 2,UQ_1\n")
    add_text(tmp_path / "competition_test.csv", header)
    prepared(globalwheat.steps, tmp_path)
    assert rows(tmp_path / "labels/a.txt") == [[0, 0.25, 0.25, 0.5, 0.5], [0, 0.75, 0.75, 0.5, 0.5]]
    assert rows(tmp_path / "labels/b.txt") == []
    assert listed(tmp_path / "train.txt", tmp_path) == ["images/a.png", "images/b.png"]
    assert listed(tmp_path / "val.txt", tmp_path) == ["images/c.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image_name,BoxesString,domain\na.png,1 2 3,x\n", "not a box in .*train.csv:2: '1 2 3'"),
        ("id,boxes\na.png,1\n", "not a Global Wheat annotation in .*train.csv:2"),
        ("image_name,BoxesString,domain\n../a.png,1 2 3 4,x\n", "an image outside the data set"),
    ],
)
def test_other_tables_are_no_global_wheat_annotations(tmp_path: Path, content: str, words: str) -> None:
    add_image(tmp_path / "images/a.png")
    add_text(tmp_path / "competition_train.csv", content)
    with pytest.raises(DataError, match=words):
        prepared(globalwheat.steps, tmp_path)


# Argoverse-HD


def argoverse_json(folder: str = "train/5ab2697b/ring_front_center") -> dict[str, object]:
    return {
        "categories": [{"id": 7, "name": "stop_sign"}, {"id": 2, "name": "car"}],
        "images": [
            {"id": 10, "sid": 1, "fid": 0, "name": "f_1.jpg", "width": 100, "height": 50},
            {"id": 11, "sid": 1, "fid": 1, "name": "f_2.jpg", "width": 100, "height": 50},
        ],
        "annotations": [
            {"id": 0, "image_id": 10, "category_id": 2, "bbox": [0, 0, 50, 25], "track": 1, "iscrowd": 0},
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [50, 25, 50, 25], "track": 2},
            {"id": 2, "image_id": 10, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
        "sequences": ["other", "5ab2697b"],
        "seq_dirs": ["train/other/ring_front_center", folder],
    }


def test_argoverse_images_are_found_by_their_sequence(tmp_path: Path) -> None:
    sequence = "train/5ab2697b/ring_front_center"
    for name in ("f_1.jpg", "f_2.jpg", "not_annotated.jpg"):
        add_image(tmp_path / f"Argoverse-1.1/tracking/{sequence}/{name}")
    add_json(tmp_path / "Argoverse-HD/annotations/train.json", argoverse_json())
    prepared(argoverse.steps, tmp_path)
    labels = tmp_path / f"Argoverse-1.1/labels/{sequence}"
    assert rows(labels / "f_1.txt") == [[2, 0.25, 0.25, 0.5, 0.5], [7, 0.75, 0.75, 0.5, 0.5]]
    assert rows(labels / "f_2.txt") == []
    images = [f"Argoverse-1.1/images/{sequence}/{name}" for name in ("f_1.jpg", "f_2.jpg")]
    assert listed(tmp_path / "train.txt", tmp_path) == images
    assert all((tmp_path / image).is_file() for image in images)
    assert names_of("Argoverse") == list(argoverse.CLASSES)


@pytest.mark.parametrize("folder", ["../../elsewhere", "/elsewhere", "val/x"])
def test_argoverse_sequences_stay_in_their_split(tmp_path: Path, folder: str) -> None:
    add_json(tmp_path / "Argoverse-HD/annotations/train.json", argoverse_json(folder))
    with pytest.raises(DataError):
        prepared(argoverse.steps, tmp_path)
    assert not (tmp_path / "train.txt").exists()


# Objects365


def test_objects365_images_lie_in_their_patch(tmp_path: Path) -> None:
    add_image(tmp_path / "images/val/patch16/objects365_v2_00908726.jpg")
    content = {
        "images": [
            {"id": 5, "file_name": "images/v2/patch16/objects365_v2_00908726.jpg", "width": 100, "height": 50},
            {"id": 6, "file_name": "images/v1/patch0/not_on_disk.jpg", "width": 10, "height": 10},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 1, "bbox": [0, 0, 50, 25], "iscrowd": 0, "isfake": 0},
            {"id": 2, "image_id": 5, "category_id": 365, "bbox": [50, 25, 50.5, 25], "iscrowd": 0},
            {"id": 3, "image_id": 5, "category_id": 9, "bbox": [0, 0, 50, 25], "iscrowd": 1},
        ],
        "categories": [],
    }
    add_json(tmp_path / "zhiyuan_objv2_val.json", content)
    prepared(objects365.steps, tmp_path)
    expected = [[0, 0.25, 0.25, 0.5, 0.5], [364, 0.75, 0.75, 0.5, 0.5]]
    assert rows(tmp_path / "labels/val/patch16/objects365_v2_00908726.txt") == expected
    assert len(names_of("Objects365")) == objects365.CLASSES


def test_an_annotation_without_a_box_is_named(tmp_path: Path) -> None:
    image = {"id": 5, "file_name": "a/b/c.jpg", "width": 100, "height": 50}
    add_json(tmp_path / "zhiyuan_objv2_val.json", {"images": [image], "annotations": [{"image_id": 5}]})
    with pytest.raises(DataError, match=r"zhiyuan_objv2_val\.json, key 'annotations\.0'"):
        prepared(objects365.steps, tmp_path)


# xView


def test_xview_holds_out_one_image_in_ten_by_its_name(tmp_path: Path) -> None:
    numbers = range(100, 160)
    for number in numbers:
        add_image(tmp_path / f"images/train_images/{number}.tif")
    features = [
        {"type": "Feature", "properties": {"image_id": "104.tif", "type_id": 11, "bounds_imcoords": "0,0,50,25"}},
        {"type": "Feature", "properties": {"image_id": "104.tif", "type_id": 94, "bounds_imcoords": "50,25,100,50"}},
        {"type": "Feature", "properties": {"image_id": "104.tif", "type_id": 75, "bounds_imcoords": "0,0,9,9"}},
        {"type": "Feature", "properties": {"image_id": "1395.tif", "type_id": 11, "bounds_imcoords": "0,0,9,9"}},
        {"type": "Feature", "properties": {"image_id": "105.tif", "type_id": 11, "bounds_imcoords": []}},
    ]
    add_json(tmp_path / "xView_train.geojson", {"type": "FeatureCollection", "features": features})
    prepared(xview.steps, tmp_path)
    labels = tmp_path / "labels/train_images"
    assert rows(labels / "104.txt") == [[0, 0.25, 0.25, 0.5, 0.5], [59, 0.75, 0.75, 0.5, 0.5]]
    assert rows(labels / "105.txt") == []
    train, val = (listed(tmp_path / f"{split}.txt", tmp_path) for split in ("train", "val"))
    assert sorted(train + val) == [f"images/train_images/{number}.tif" for number in numbers]
    assert 1 <= len(val) <= 15
    assert len(names_of("xView")) == len(xview.TYPE_IDS)


# What they share


def test_labels_that_are_there_are_never_touched(tmp_path: Path) -> None:
    for split in sku110k.SPLITS:
        add_text(tmp_path / f"annotations/annotations_{split}.csv", f"{split}.jpg,0,0,50,25,object,100,50\n")
    add_text(tmp_path / "labels/train.txt", "mine\n")
    prepared(sku110k.steps, tmp_path)  # the lists are missing and made
    assert [path.name for path in (tmp_path / "labels").iterdir()] == ["train.txt"]
    assert (tmp_path / "labels/train.txt").read_text() == "mine\n"


def test_labels_that_a_dead_process_left_half_written_are_made_anew(tmp_path: Path) -> None:
    for split in sku110k.SPLITS:
        add_text(tmp_path / f"annotations/annotations_{split}.csv", f"{split}.jpg,0,0,50,25,object,100,50\n")
    add_text(tmp_path / ".labels.partial/old.txt", "half")
    prepared(sku110k.steps, tmp_path)
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["test.txt", "train.txt", "val.txt"]
    assert not (tmp_path / ".labels.partial").exists()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (-9, 0, 0, 9), (100, 0, 120, 9), (0, 50, 9, 70)])
def test_boxes_with_nothing_inside_the_image_are_left_out(box: tuple[float, float, float, float]) -> None:
    assert label_line(0, box, (100, 50)) == ""


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_large_json_is_read_one_element_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(json_stream, "PIECE_CHARACTERS", piece)
    content = {"info": {"x": [1, {"y": "]}"}]}, "n": 12, "images": [], "a": [{"id": 1, "ü": '"]'}, 1234, [5], None]}
    file = tmp_path / "x.json"
    for text in (json.dumps(content), json.dumps(content, indent=1, ensure_ascii=False)):
        file.write_text(text, "utf-8")
        assert list(elements(file, "a")) == content["a"]
        assert list(elements(file, "images")) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[1]", "not valid JSON"),
        ('{"a": [1, 2', "not valid JSON"),
        ('{"a": [{"x": tru}]}', "not valid JSON"),
        ('{"b": [1]}', "a key is missing in .*: a"),
        ('{"a": {"x": 1}}', "not a list in .*key 'a'"),
        ('{"a": ' + "[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_annotation_file_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        list(elements(file, "a"))


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for split in sku110k.SPLITS:
        add_text(tmp_path / f"annotations/annotations_{split}.csv", f"{split}.jpg,0,0,50,25,object,100,50\n")
        add_text(tmp_path / f"{split}.txt", "")
    (tmp_path / ".labels.partial").write_text("a file where a folder is needed")
    with pytest.raises(EnvironmentFault, match="cannot write in .*labels"):
        prepared(sku110k.steps, tmp_path)
    assert not (tmp_path / "labels").exists()
