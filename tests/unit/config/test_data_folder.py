"""A folder, or a COCO json, in place of a data YAML: the layouts in which labelling tools hand data sets over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from accel_yolo.config.data_folder import HELD_OUT
from accel_yolo.config.dataset import DataSpec, load_data_spec
from accel_yolo.errors import DataError

COCO = json.dumps({"images": [], "annotations": [], "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]})
NOTES = json.dumps({"categories": [{"id": 0, "name": "cat"}], "info": {}})
XML = "<annotation><object><name>{}</name><part><name>head</name></part></object></annotation>"
ROW = "0 0.5 0.5 0.1 0.1\n"
ROBOFLOW = "_annotations.coco.json"
BOTH = ("cat", "dog")


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def laid_out(files: Mapping[str, str]) -> Path:
    """Write the files of a data set into the folder `mine` and return it."""
    for name, text in files.items():
        path = Path("mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path("mine")


def places(spec: DataSpec, split: str) -> list[str]:
    return [str(place.relative_to(Path("mine").absolute())) for place in spec.split(split)]


ONE_SET = {
    "a json beside images/": ({"annotations.json": COCO, "images/a.jpg": ""}, "annotations.json", "coco"),
    "Label Studio, COCO": ({"result.json": COCO, "images/a.jpg": ""}, "result.json", "coco"),
    "CVAT, COCO": (
        {"annotations/instances_default.json": COCO, "images/default/a.jpg": ""},
        "annotations/instances_default.json",
        "coco",
    ),
    "a json in the folder of the images": ({ROBOFLOW: COCO, "a.jpg": ""}, ROBOFLOW, "coco"),
    "Roboflow, one set": ({f"train/{ROBOFLOW}": COCO, "train/a.jpg": ""}, f"train/{ROBOFLOW}", "coco"),
    "Label Studio, YOLO": (
        {"classes.txt": "cat\ndog\n", "notes.json": NOTES, "images/a.jpg": "", "labels/a.txt": ROW},
        "images",
        "yolo",
    ),
    "labelImg, YOLO": ({"classes.txt": "cat\ndog\n", "a.jpg": "", "a.txt": ROW}, ".", "yolo"),
    "CVAT, YOLO": (
        {"obj.names": "cat\ndog\n", "obj_train_data/a.jpg": "", "obj_train_data/a.txt": ROW, "train.txt": "x"},
        "obj_train_data",
        "yolo",
    ),
    "labelImg, VOC": ({"a.jpg": "", "a.xml": XML.format("dog"), "b.jpg": "", "b.xml": XML.format("cat")}, ".", "voc"),
    "VOC without lists": (
        {"JPEGImages/a.jpg": "", "Annotations/a.xml": XML.format("dog"), "Annotations/b.xml": XML.format("cat")},
        "JPEGImages",
        "voc",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", ONE_SET)
def test_of_a_folder_with_one_set_a_share_is_held_out(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    files, train, kind = ONE_SET[layout]
    spec = load_data_spec(laid_out(files))
    assert (spec.format, tuple(spec.names.values()), spec.held_out) == (kind, BOTH, HELD_OUT)
    assert places(spec, "train") == places(spec, "val") == [train]
    (line,) = capsys.readouterr().err.splitlines()
    assert f"mine is read as {kind.upper()}: train = {train}; val = 20% of these images" in line


SPLIT_SETS = {
    "Roboflow, COCO": (
        {f"{split}/{ROBOFLOW}": COCO for split in ("train", "valid", "test")},
        [f"{split}/{ROBOFLOW}" for split in ("train", "valid", "test")],
    ),
    "COCO's own, with other tasks beside": (
        {
            **{f"annotations/instances_{split}2017.json": COCO for split in ("train", "val")},
            "annotations/captions_val2017.json": "{}",
            "annotations/person_keypoints_val2017.json": COCO,
        },
        ["annotations/instances_train2017.json", "annotations/instances_val2017.json", None],
    ),
    "CVAT, subsets": (
        {"annotations/instances_Train.json": COCO, "annotations/instances_Validation.json": COCO},
        ["annotations/instances_Train.json", "annotations/instances_Validation.json", None],
    ),
    "jsons at the top": ({"train.json": COCO, "val.json": COCO, "all.json": COCO}, ["train.json", "val.json", None]),
    "YOLO, images by split": (
        {
            "classes.txt": "cat\ndog\n",
            **{f"images/{split}/a.jpg": "" for split in ("train", "val")},
            **{f"labels/{split}/a.txt": ROW for split in ("train", "val")},
        },
        ["images/train", "images/val", None],
    ),
    "YOLO, splits with images": (
        {
            "train/classes.txt": "cat\ndog\n",
            **{f"{split}/images/a.jpg": "" for split in ("train", "valid", "test")},
            **{f"{split}/labels/a.txt": ROW for split in ("train", "valid", "test")},
        },
        ["train/images", "valid/images", "test/images"],
    ),
    "VOC's own": (
        {
            **{f"ImageSets/Main/{split}.txt": "a\n" for split in ("train", "val")},
            "JPEGImages/a.jpg": "",
            "Annotations/a.xml": XML.format("dog"),
            "Annotations/b.xml": XML.format("cat"),
        },
        ["ImageSets/Main/train.txt", "ImageSets/Main/val.txt", None],
    ),
}


@pytest.mark.parametrize("layout", SPLIT_SETS)
def test_splits_that_are_there_are_kept(layout: str) -> None:
    files, expected = SPLIT_SETS[layout]
    spec = load_data_spec(laid_out(files))
    assert spec.held_out == 0 and tuple(spec.names.values()) == BOTH
    assert [next(iter(places(spec, split)), None) for split in ("train", "val", "test")] == expected


def test_a_data_yaml_in_the_folder_stands_for_it() -> None:
    yaml = "train: images\nval: images\nnames: [x]\n"
    spec = load_data_spec(laid_out({"data.yaml": yaml, "other.yaml": "", "images/a.jpg": "", "annotations.json": COCO}))
    assert spec.file == Path("mine/data.yaml") and spec.names == {0: "x"}


def test_a_json_is_a_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    spec = load_data_spec(laid_out({"instances_train.json": COCO, "instances_val.json": COCO}) / "instances_val.json")
    assert places(spec, "train") == ["instances_val.json"] and spec.held_out == HELD_OUT
    assert "val = 20%" in capsys.readouterr().err


def test_a_data_yaml_may_ask_for_a_share_of_the_training_images() -> None:
    spec = load_data_spec(laid_out({"some.yaml": "train: images\nval: 0.1\nnames: [x]\n", "images/a.jpg": ""}))
    assert spec.held_out == 0.1 and spec.val == spec.train


@pytest.mark.parametrize("share", ["1.5", "0", "-0.1", "1"])
def test_a_share_is_between_none_and_all(share: str) -> None:
    folder = laid_out({"some.yaml": f"train: images\nval: {share}\nnames: [x]\n", "images/a.jpg": ""})
    with pytest.raises(DataError, match="not a share in mine/some.yaml:2, key 'val'"):
        load_data_spec(folder)


def test_a_yaml_without_a_validation_split_is_told_of_the_share() -> None:
    folder = laid_out({"some.yaml": "train: images\nnames: [x]\n", "images/a.jpg": ""})
    with pytest.raises(DataError, match="no val split in mine/some.yaml; .* or `val: 0.2` to keep a fifth"):
        load_data_spec(folder)


def test_the_name_of_a_shipped_data_set_is_that_one_and_a_path_is_the_folder() -> None:
    Path("coco128").mkdir()
    Path("coco128/annotations.json").write_text(COCO)
    assert load_data_spec("coco128", splits=()).nc == 80
    assert load_data_spec("./coco128").nc == 2
    assert load_data_spec("coco128/").nc == 2


def test_yolo_labels_without_names_are_refused_with_what_to_write() -> None:
    folder = laid_out({"images/a.jpg": "", "labels/a.txt": ROW})
    with pytest.raises(DataError, match=r"no class names in mine.*; write mine/classes.txt with a name a line"):
        load_data_spec(folder)


def test_class_names_in_another_encoding_are_one_line() -> None:
    folder = laid_out({"images/a.jpg": "", "labels/a.txt": ROW})
    (folder / "classes.txt").write_bytes("dog\nBär\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"^class names are not UTF-8 text in mine/classes.txt:2; save it as UTF-8$"):
        load_data_spec(folder)


def test_a_folder_without_a_data_set_tells_what_it_holds() -> None:
    with pytest.raises(DataError, match="no data set is recognised in mine: it holds a.jpg, b.md"):
        load_data_spec(laid_out({"a.jpg": "", "b.md": ""}))
