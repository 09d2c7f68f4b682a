"""What was found, in every form people ask for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from accel_yolo.data.images import read_image
from accel_yolo.inference.output.crops import enlarged_crop, safe_name, save_crops
from accel_yolo.inference.output.texts import label_text
from accel_yolo.inference.results import Detections

NAMES = {0: "person", 1: "dog", 2: "traffic light"}


@pytest.fixture
def found() -> Detections:
    image = np.arange(100 * 200 * 3, dtype=np.uint32).reshape(100, 200, 3).astype(np.uint8)
    return Detections(
        boxes_xyxy=np.array([[10, 20, 50, 80], [0, 0, 30, 30], [100, 40, 200, 100]], dtype=np.float32),
        confidences=np.array([0.9, 0.5, 0.25], dtype=np.float32),
        classes=np.array([1, 0, 1]),
        names=NAMES,
        image=image,
        path="photos/park.png",
        stem="park",
    )


def test_the_four_tables_hold_the_same_boxes(found: Detections) -> None:
    np.testing.assert_allclose(found.xyxy[0], [10, 20, 50, 80, 0.9, 1])
    np.testing.assert_allclose(found.xywh[0], [30, 50, 40, 60, 0.9, 1])
    np.testing.assert_allclose(found.xyxyn[0], [0.05, 0.2, 0.25, 0.8, 0.9, 1], rtol=1e-6)
    np.testing.assert_allclose(found.xywhn[0], [0.15, 0.5, 0.2, 0.6, 0.9, 1], rtol=1e-6)
    assert found.xywhn.dtype == np.float32


def test_it_is_a_sequence_of_objects(found: Detections) -> None:
    assert len(found) == 3
    first = next(iter(found))
    assert (first.box_xyxy, first.class_id, first.name) == ((10, 20, 50, 80), 1, "dog")
    assert first.confidence == pytest.approx(0.9)
    assert found.orig_hw == (100, 200)


def test_the_summary_counts_in_order_of_class_numbers(found: Detections) -> None:
    assert found.summary() == "1 person, 2 dogs"
    assert Detections(*empty(), NAMES, found.image).summary() == "no detections"


def empty() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)


def test_dicts_are_ready_for_json(found: Detections) -> None:
    row = json.loads(json.dumps(found.to_dicts()))[0]
    assert {key: row[key] for key in ("xmin", "ymin", "xmax", "ymax", "class", "name")} == {
        "xmin": 10, "ymin": 20, "xmax": 50, "ymax": 80, "class": 1, "name": "dog",
    }  # fmt: skip


def test_an_image_without_objects_works_everywhere(found: Detections, tmp_path: Path) -> None:
    nothing = Detections(*empty(), NAMES, found.image)
    assert nothing.xywhn.shape == (0, 6)
    assert (nothing.to_dicts(), nothing.crops(), label_text(nothing)) == ([], [], "")
    assert np.array_equal(nothing.plot(), found.image)
    assert nothing.save(tmp_path).name == "image.jpg"


def test_label_lines_run_from_the_least_to_the_most_confident(found: Detections) -> None:
    assert label_text(found) == "1 0.75 0.7 0.5 0.6\n0 0.075 0.15 0.15 0.3\n1 0.15 0.5 0.2 0.6\n"
    assert label_text(found, confidence=True).splitlines()[-1] == "1 0.15 0.5 0.2 0.6 0.9"
    assert label_text(found, corners=True).splitlines()[-1] == "1 0.05 0.2 0.25 0.8"


def test_a_followed_object_says_the_number_of_its_track_everywhere(found: Detections) -> None:
    followed = replace(found, track_ids=np.array([7, -1, 1_000_001]))
    assert [item.track_id for item in followed] == [7, None, 1_000_001]
    assert [row["track"] for row in json.loads(json.dumps(followed.to_dicts()))] == [7, None, 1_000_001]
    lines = label_text(followed, confidence=True).splitlines()
    assert [line.split()[-1] for line in lines] == ["1000001", "-1", "7"]
    assert [line.rsplit(" ", 1)[0] for line in lines] == label_text(found, confidence=True).splitlines()
    assert followed.rounded().track_ids is followed.track_ids


def test_boxes_are_rounded_to_whole_pixels_for_files(found: Detections) -> None:
    odd = Detections(np.array([[10.4, 20.6, 50.5, 80.5]], np.float32), *empty_but_one(), NAMES, found.image)
    assert odd.rounded().boxes_xyxy.tolist() == [[10, 21, 50, 80]]


def empty_but_one() -> tuple[np.ndarray, np.ndarray]:
    return np.array([0.5], np.float32), np.array([0])


def test_saving_keeps_name_and_format_and_never_touches_the_source(found: Detections, tmp_path: Path) -> None:
    before = found.image.copy()
    path = found.save(tmp_path / "new folder é")
    assert path.name == "park.png"
    assert np.array_equal(read_image(str(path)), found.plot())
    assert not np.array_equal(found.plot(), before)
    assert np.array_equal(found.image, before)


def test_crops_have_a_margin_and_stay_inside(found: Detections) -> None:
    shapes = [crop.shape for crop in found.crops()]
    # 40 x 60 px enlarged to 50.8 x 71.2: from (4.6, 14.4) to (55.4, 85.6); the other two touch the border.
    assert shapes == [(71, 51, 3), (35, 35, 3), (66, 106, 3)]
    assert np.array_equal(found.crops()[0], found.image[14:85, 4:55])


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (200, 100, 200, 100), (3, 3, 3, 3)])
def test_a_crop_is_never_empty(box: tuple[float, float, float, float]) -> None:
    assert enlarged_crop(np.zeros((100, 200, 3), np.uint8), box).size > 0


def test_crops_are_sorted_by_class_and_numbered_and_replace_nothing(found: Detections, tmp_path: Path) -> None:
    for _ in range(2):
        save_crops(found, tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    assert files == ["dog/park.jpg", "dog/park2.jpg", "dog/park3.jpg", "dog/park4.jpg", "person/park.jpg",
                     "person/park2.jpg"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("traffic light", "traffic light"),
        ("../../etc", "_.._etc"),
        ("a/b\\c", "a_b_c"),
        ("..", "_"),
        ("собака", "собака"),
    ],
)
def test_class_names_never_lead_out_of_the_folder(name: str, folder: str) -> None:
    assert safe_name(name) == folder
