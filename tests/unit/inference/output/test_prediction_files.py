"""All detections of a run in one file."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.errors import EnvironmentFault
from accel_yolo.inference.output.growing_file import GrowingFile
from accel_yolo.inference.output.prediction_files import CocoResults, PredictionsCsv, PredictionsJson, Shown
from accel_yolo.inference.results import Detections


@pytest.fixture
def found() -> Detections:
    return Detections(
        boxes_xyxy=np.array([[10.126, 20, 50.5, 80], [0, 0, 30, 30]], dtype=np.float32),
        confidences=np.array([0.876543, 0.5], dtype=np.float32),
        classes=np.array([1, 0]),
        names={0: "person", 1: "hot dog"},
        image=np.zeros((100, 200, 3), np.uint8),
        stem="clip_7",
    )


def nothing(found: Detections) -> Detections:
    return replace(found, boxes_xyxy=found.boxes_xyxy[:0], confidences=found.confidences[:0], classes=found.classes[:0])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_first_columns_are_those_of_yolov5_and_rows_run_from_the_least_confident(
    found: Detections, tmp_path: Path
) -> None:
    file = PredictionsCsv(tmp_path / "predictions.csv")
    file.write(Shown("photos/park.png"), found)
    file.write(Shown("photos/empty.png"), nothing(found))
    file.close()
    lines = (tmp_path / "predictions.csv").read_bytes().split(b"\r\n")
    assert lines[0] == b"Image Name,Prediction,Confidence,xmin,ymin,xmax,ymax,class,frame,track"
    assert lines[1] == b"park.png,person,0.50,0.00,0.00,30.00,30.00,0,,"
    assert lines[2] == b"park.png,hot dog,0.88,10.13,20.00,50.50,80.00,1,,"
    assert lines[3:] == [b""]


def test_frames_and_tracks_have_their_columns(found: Detections, tmp_path: Path) -> None:
    file = PredictionsCsv(tmp_path / "predictions.csv")
    file.write(Shown("clip.mp4", 7), replace(found, track_ids=np.array([3, -1])))
    file.close()
    assert [(row["frame"], row["track"]) for row in rows_of(file_path(tmp_path))] == [("7", ""), ("7", "3")]


def file_path(folder: Path) -> Path:
    return folder / "predictions.csv"


@pytest.mark.parametrize("name", ['a,"b".png', "zwei\nzeilen.png", "=1+1.png", "größe 画.png", " .png", "'.png"])
def test_any_file_name_comes_back_from_csv_and_json(found: Detections, tmp_path: Path, name: str) -> None:
    table, document = PredictionsCsv(tmp_path / "p.csv"), PredictionsJson(tmp_path / "p.json")
    for file in (table, document):
        file.write(Shown(f"folder/{name}"), found)
        file.close()
    assert [row["Image Name"] for row in rows_of(tmp_path / "p.csv")] == [name, name]
    assert json.loads((tmp_path / "p.json").read_text("utf-8"))[0]["image"] == f"folder/{name}"


def test_a_name_that_is_not_utf8_is_written_out(found: Detections, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    for file in (PredictionsCsv(tmp_path / "p.csv"), PredictionsJson(tmp_path / "p.json")):
        file.write(Shown(name), found)
        file.close()
    assert rows_of(tmp_path / "p.csv")[0]["Image Name"] == "caf\\udce9.png"
    # In JSON that is the escape of the very same name.
    assert os.fsencode(json.loads((tmp_path / "p.json").read_text("utf-8"))[0]["image"]) == b"caf\xe9.png"


def test_the_json_document_has_every_picture_with_its_size_and_objects(found: Detections, tmp_path: Path) -> None:
    file = PredictionsJson(tmp_path / "predictions.json")
    file.write(Shown("clip.mp4", 7), replace(found, track_ids=np.array([3, -1])))
    file.write(Shown("empty.png"), nothing(found))
    file.close()
    text = (tmp_path / "predictions.json").read_text("utf-8")
    first, second = json.loads(text)
    assert {key: first[key] for key in ("image", "width", "height", "frame")} == {
        "image": "clip.mp4", "width": 200, "height": 100, "frame": 7,
    }  # fmt: skip
    keys = ("xmin", "ymin", "xmax", "ymax", "confidence", "class", "name", "track")
    assert [tuple(row[key] for key in keys) for row in first["detections"]] == [
        (10.13, 20.0, 50.5, 80.0, 0.87654, 1, "hot dog", 3),
        (0.0, 0.0, 30.0, 30.0, 0.5, 0, "person", None),
    ]
    assert second == {"image": "empty.png", "width": 200, "height": 100, "detections": []}
    assert len(text.splitlines()) == 4  # a line for each picture


def test_a_run_without_pictures_is_an_empty_list(tmp_path: Path) -> None:
    PredictionsJson(tmp_path / "p.json").close()
    assert json.loads((tmp_path / "p.json").read_text()) == []


def test_coco_results_are_read_by_cocos_own_tool(found: Detections, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    names = load_data_spec("coco", splits=()).names
    file = CocoResults(tmp_path / "p.json")
    coco = replace(found, names=names, classes=np.array([79, 0]), stem="000000000139")
    file.write(Shown("val2017/000000000139.jpg"), coco)
    file.close()
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 139}],
        "annotations": [],
        "categories": [{"id": number} for number in range(1, 91)],
    }
    truth.createIndex()
    results = truth.loadRes(str(tmp_path / "p.json")).dataset["annotations"]
    assert [(row["image_id"], row["category_id"], row["score"]) for row in results] == [
        (139, 90, 0.87654),
        (139, 1, 0.5),
    ]
    np.testing.assert_allclose(results[0]["bbox"], [10.126, 20, 40.374, 60], atol=1e-3)


def test_images_of_one_name_have_ids_of_their_own(found: Detections, tmp_path: Path) -> None:
    file = CocoResults(tmp_path / "p.json")
    for path, stem in (("a/7.jpg", "7"), ("b/7.jpg", "7-2")):
        file.write(Shown(path), replace(found, stem=stem))
    file.close()
    assert [row["image_id"] for row in json.loads((tmp_path / "p.json").read_text())] == [7, 7, "7-2", "7-2"]


def test_coco_results_of_other_classes_and_of_frames(found: Detections, tmp_path: Path) -> None:
    file = CocoResults(tmp_path / "p.json")
    file.write(Shown("clip.mp4", 7), found)
    file.close()
    rows = json.loads((tmp_path / "p.json").read_text())
    assert [(row["image_id"], row["category_id"]) for row in rows] == [("clip_7", 1), ("clip_7", 0)]


def test_a_file_has_its_name_only_when_it_is_whole_and_what_there_is_can_be_read_before(
    found: Detections, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text("of an earlier run")
    file = PredictionsCsv(path)
    file.write(Shown("a.png"), found)
    # What a run that is killed here leaves: the old file, and all rows up to now beside it.
    assert path.read_text() == "of an earlier run"
    assert len(rows_of(tmp_path / "predictions.csv.partial")) == 2
    file.close()
    assert len(rows_of(path)) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["predictions.csv"]


def test_what_is_abandoned_keeps_its_partial_name(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "x.json")
    file.write("[")
    file.abandon()
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json.partial"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match="cannot write in .*file/x.csv"):
        GrowingFile(tmp_path / "file" / "x.csv")
    (tmp_path / "x.csv").mkdir()
    file = GrowingFile(tmp_path / "x.csv")
    with pytest.raises(EnvironmentFault, match=r"cannot write in .*x\.csv"):
        file.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv.partial").symlink_to("/dev/full")
    with pytest.raises(EnvironmentFault, match=r"x\.csv: No space left on device; check space and rights"):
        GrowingFile(tmp_path / "x.csv").write("text")
