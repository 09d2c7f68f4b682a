"""COCO json: what is read, what is refused and under which image id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.formats.outline import outlines_of
from accel_yolo.data.index import build_index, examined
from accel_yolo.data.problems import Problem
from accel_yolo.data.split_index import SplitIndex
from accel_yolo.errors import DataError

CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "toothbrush"}]
BOX = [8.0, 4.0, 16.0, 8.0]


def annotation(number: int, image: Any, box: Any = BOX, category: Any = 3, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more}


def made(root: Path, annotations: list[Any], images: list[Any] | None = None, **more: Any) -> Path:
    """Write three images of 64 x 32 px, a json that lists them and a data YAML; return that."""
    folder = root / "images" / "set"
    folder.mkdir(parents=True, exist_ok=True)
    for name in "abc":
        cv2.imwrite(str(folder / f"{name}.png"), np.full((32, 64, 3), ord(name), np.uint8))
    default = [
        {"id": 10 * place, "file_name": f"{name}.png", "width": 64, "height": 32} for place, name in enumerate("abc")
    ]
    content = {"images": images or default, "annotations": annotations, "categories": CATEGORIES, **more}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "instances_set.json").write_text(json.dumps(content))
    data = root / "data.yaml"
    data.write_text(f"path: {root}\ntrain: annotations/instances_set.json\nval: annotations/instances_set.json\n")
    return data


def index_of(data: Path, bad_data: str = "drop") -> SplitIndex:
    return build_index(load_data_spec(data), "train", single_cls=False, bad_data=bad_data, workers=1)


def problems_of(data: Path) -> list[Problem]:
    return list(examined(load_data_spec(data), "train", workers=1).problems)


def test_boxes_are_normalised_and_categories_get_numbers_by_name_in_the_order_of_their_ids(tmp_path: Path) -> None:
    spec = load_data_spec(made(tmp_path, [annotation(1, 10), annotation(2, 10, category=90)]))
    assert (spec.format, spec.names) == ("coco", {0: "cat", 1: "dog", 2: "toothbrush"})
    index = build_index(spec, "train", single_cls=False, bad_data="fail", workers=1)
    assert [Path(path).name for path in index.paths] == ["a.png", "b.png", "c.png"]
    assert index.labels_of(1).tolist() == [[0, 0.25, 0.25, 0.25, 0.25], [2, 0.25, 0.25, 0.25, 0.25]]
    assert (index.counts.labelled, index.counts.background) == (1, 2)


def test_names_of_the_yaml_choose_and_number_the_categories(tmp_path: Path) -> None:
    data = made(tmp_path, [annotation(1, 0), annotation(2, 10, category=7)])
    data.write_text(data.read_text() + "names: [dog, cat]\n")
    index = index_of(data, "fail")
    assert index.labels[:, 0].tolist() == [1, 0]


def test_objects_that_are_read_at_once_are_those_that_are_read_one_by_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    low, sides = rng.uniform(0, (40, 20), (30, 2)), rng.uniform(0, (20, 10), (30, 2))
    entries = [annotation(number, 0, [*box], 7) for number, box in enumerate(np.column_stack((low, sides)).tolist())]
    at_once = index_of(made(tmp_path, entries), "fail").labels_of(0)
    # A box that is cut makes the reader of its image look at each.
    cut = annotation(99, 0, [-0.5, 4, 65, 8])
    one_by_one = index_of(made(tmp_path, [*entries, cut]), "fail").labels_of(0)
    assert len(at_once) == 30
    assert one_by_one[:-1].tobytes() == at_once.tobytes()


def test_crowds_are_left_out_whatever_their_segmentation(tmp_path: Path) -> None:
    crowd = annotation(1, 0, iscrowd=1, segmentation={"counts": [1, 2], "size": [32, 64]})
    index = index_of(made(tmp_path, [crowd, annotation(2, 10)]), "fail")
    assert [len(index.labels_of(image)) for image in range(3)] == [0, 1, 0]


def test_ids_may_be_texts_and_come_in_any_order(tmp_path: Path) -> None:
    images = [{"id": name, "file_name": f"{name}.png"} for name in "cab"]
    index = index_of(
        made(tmp_path, [annotation(1, "b"), annotation(2, "c"), annotation(3, "b", category=7)], images), "fail"
    )
    assert [len(index.labels_of(image)) for image in range(3)] == [0, 2, 1]


def test_an_outline_is_kept_and_the_parts_of_an_object_become_one(tmp_path: Path) -> None:
    parts = [[0, 0, 4, 0, 4, 4, 0, 4], [6, 0, 8, 0, 8, 4, 6, 4]]
    index = index_of(made(tmp_path, [annotation(1, 0, segmentation=parts)]), "fail")
    (outline,) = index.polygons_of(0)
    # From (4, 0) of the first to (6, 0) of the second, around it, and back.
    expected = [[0, 0], [4, 0], [6, 0], [8, 0], [8, 4], [6, 4], [6, 0], [4, 0], [4, 4], [0, 4]]
    assert (outline * (64, 32)).tolist() == expected


@pytest.mark.parametrize("raw", [b"[]", b"null", b'{"counts": [1], "size": [2, 2]}', b"[[1, 2, 3, 4]]", b'[["x"]]'])
def test_a_segmentation_without_an_outline_leaves_the_box(raw: bytes) -> None:
    assert [each.shape for each in outlines_of([raw], (2, 2))] == [(0, 2)]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (annotation(5, 10, box=[8, 4, -1, 8]), "image id 10, annotation id 5: a box must not have a negative side"),
        (
            annotation(5, 10, box=[60, 4, 10, 8]),
            "image id 10, annotation id 5: the box must lie in the image of 64 x 32 px",
        ),
        (annotation(5, 10, box=[90, 4, 10, 8]), "image id 10, annotation id 5: the box lies outside the image"),
        (annotation(5, 10, category=8), "image id 10, annotation id 5: the category is none of the classes"),
        (annotation(5, 10, box=[1, 2, 3]), "image id 10, annotation id 5 (annotations[1]) cannot be read"),
        (annotation(5, 10, box=None), "image id 10, annotation id 5 (annotations[1]) cannot be read"),
        (annotation(5, 10, box=["1", 2, 3, 4]), "image id 10, annotation id 5 (annotations[1]) cannot be read"),
    ],
)  # fmt: skip
def test_a_bad_object_drops_its_image_which_is_named_by_its_id(tmp_path: Path, entry: dict, told: str) -> None:
    data = made(tmp_path, [annotation(1, 0), entry])
    assert [Path(path).name for path in index_of(data).paths] == ["a.png", "c.png"]
    (problem,) = problems_of(data)
    assert problem.rule == told
    assert problem.file.endswith("instances_set.json")
    with pytest.raises(DataError, match="image id 10"):
        index_of(data, "fail")


def test_a_box_wider_than_the_image_by_a_pixel_is_cut(tmp_path: Path) -> None:
    index = index_of(made(tmp_path, [annotation(1, 0, box=[-0.5, 4, 65, 8])]), "fail")
    assert index.labels[0].tolist() == [0, 0.5, 0.25, 1, 0.25]


def test_a_box_with_its_centre_in_the_image_is_kept_as_it_is_like_those_of_yolo(tmp_path: Path) -> None:
    index = index_of(made(tmp_path, [annotation(1, 0, box=[52, 4, 16, 8])]), "fail")
    assert index.labels[0].tolist() == [0, 0.9375, 0.25, 0.25, 0.25]


def test_an_entry_of_another_size_than_its_image_drops_it(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png", "width": 32, "height": 64}, {"id": 2, "file_name": "b.png"}]
    data = made(tmp_path, [annotation(1, 1), annotation(2, 2)], images)
    assert [Path(path).name for path in index_of(data).paths] == ["b.png"]
    assert problems_of(data)[0].rule == "image id 1 has another size than its entry says: 64 x 32 px"


def test_a_missing_image_is_named_with_its_id(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 22, "file_name": "gone.png"}]
    data = made(tmp_path, [annotation(1, 1)], images)
    (problem,) = problems_of(data)
    assert problem.file.endswith("gone.png") and problem.rule.endswith("(image id 22)")


def test_a_bad_image_entry_costs_an_image_and_is_named_by_its_id(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.png", "width": "64", "height": 32.0},
        {"id": 1, "file_name": "b.png"},
        {"id": 3, "file_name": "./a.png"},
        {"id": 4},
        {"id": 5, "file_name": "c.png", "width": 1e300},
        {"id": 6.0, "file_name": "b.png", "width": None},
    ]
    data = made(tmp_path, [annotation(1, 1), annotation(2, 99), annotation(3, 98), annotation(4, 6)], images)
    index = index_of(data)
    assert ([Path(path).name for path in index.paths], index.counts.dropped) == (["a.png", "b.png"], 4)
    with pytest.raises(DataError, match="image id 1 comes twice"):
        index_of(data, "fail")
    problems = problems_of(data)
    assert [problem.rule for problem in problems if problem.drops_image] == [
        "image id 1 comes twice: the first counts",
        "image id 3 names the file of image id 1: the first counts",
        "images[3] (image id 4) cannot be read",
        "images[4] (image id 5) cannot be read",
    ]
    remarks = [problem.rule for problem in problems if not problem.drops_image]
    assert remarks == ["2 annotations are of images that are not listed; the first of image id"]


def test_only_one_and_true_make_a_crowd(tmp_path: Path) -> None:
    data = made(
        tmp_path, [annotation(1, 0) | {"iscrowd": "0"}, annotation(2, 10) | {"iscrowd": True}, annotation(3, 20)]
    )
    assert [problem.rule for problem in problems_of(data)] == [
        "image id 0, annotation id 1 (annotations[0]) cannot be read"
    ]
    assert [Path(path).name for path in index_of(data).paths] == ["b.png", "c.png"]


@pytest.mark.parametrize("key", ["area", "bbox"])
def test_not_a_number_is_read_as_python_writes_it_and_named_where_it_matters(tmp_path: Path, key: str) -> None:
    value: Any = [float("nan"), 1.0, 2.0, 3.0] if key == "bbox" else float("inf")
    data = made(tmp_path, [annotation(1, 0), annotation(2, 10) | {key: value}])
    rules = [problem.rule for problem in problems_of(data)]
    assert rules == ([] if key == "area" else ["image id 10, annotation id 2 (annotations[1]) cannot be read"])


def test_a_byte_order_mark_is_fine(tmp_path: Path) -> None:
    data = made(tmp_path, [annotation(1, 0)])
    file = tmp_path / "annotations" / "instances_set.json"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(index_of(data, "fail")) == 3


def test_of_an_image_in_two_jsons_the_labels_of_the_first_count_and_that_is_said(tmp_path: Path) -> None:
    data = made(tmp_path, [annotation(1, 0), annotation(2, 10)])
    first = tmp_path / "annotations" / "instances_set.json"
    second = first.with_name("more.json")
    second.write_text(first.read_text().replace('"category_id": 3', '"category_id": 7'))
    data.write_text(f"path: {tmp_path}\ntrain: [annotations/{first.name}, annotations/more.json]\n"
                    f"val: annotations/{first.name}\nimages: images/set\nnames: [cat, dog]\n")  # fmt: skip
    assert index_of(data).labels[:, 0].tolist() == [0, 0]
    assert "3 images are in an earlier json too, whose labels count" in problems_of(data)[0].rule


def test_the_same_json_under_another_root_is_another_data_set(tmp_path: Path) -> None:
    shared = made(tmp_path / "one", [annotation(1, 0)]).parent / "annotations" / "instances_set.json"
    made(tmp_path / "two", [annotation(1, 0)])
    for name in ("one", "two"):
        (tmp_path / name / "images" / "set").rename(tmp_path / name / "set")
    found = []
    for name in ("one", "two"):
        data = tmp_path / f"{name}.yaml"
        data.write_text(f"path: {tmp_path / name}\ntrain: {shared}\nval: {shared}\nimages: set\n")
        found.append(index_of(data, "fail").paths[0])
    assert found == [str(tmp_path / name / "set" / "a.png") for name in ("one", "two")]


def test_a_name_that_leads_elsewhere_does_not_decide_where_the_images_are(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "/etc/passwd"}, {"id": 2, "file_name": "../../../../../../etc/passwd"},
              {"id": 3, "file_name": "a.png"}]  # fmt: skip
    data = made(tmp_path, [annotation(1, 3)], images)
    assert [Path(path).name for path in index_of(data).paths] == ["a.png"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a COCO json"),
        (b"[]", "not a COCO json"),
        (b'{"images": [], "annotations": []}', "not a COCO json"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1}]}', "bad category"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "x"}]}', "no category is a class"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}', "no images"),
        (b"[" * 100_000, "not a COCO json"),
        (b'{"images": [], "annotations": [], "categories": [], "info": ' + b"[" * 100_000, "not a COCO json"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    data = made(tmp_path, [])
    data.write_text(data.read_text() + "names: [cat]\n")
    (tmp_path / "annotations" / "instances_set.json").write_bytes(content)
    with pytest.raises(DataError, match=told):
        index_of(data)


@pytest.mark.parametrize("folder", ["images/set", "set", "images", "annotations", "annotations/images", "."])
def test_images_are_found_in_the_usual_places(tmp_path: Path, folder: str) -> None:
    data = made(tmp_path, [annotation(1, 0)])
    target = tmp_path / folder
    if folder != "images/set":
        target.mkdir(parents=True, exist_ok=True)
        for image in (tmp_path / "images" / "set").iterdir():
            image.rename(target / image.name)
    assert len(index_of(data, "fail")) == 3


def test_images_may_lie_anywhere_if_the_yaml_says_so(tmp_path: Path) -> None:
    data = made(tmp_path, [annotation(1, 0)])
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="the images are not there .*write the folder .* as `images:`"):
        index_of(data)
    data.write_text(data.read_text() + "images: elsewhere/set\n")
    assert len(index_of(data, "fail")) == 3


def test_what_is_kept_serves_until_the_json_or_an_image_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(tmp_path, [annotation(1, 0)])
    first = index_of(data)
    with monkeypatch.context() as patch:
        patch.setattr("accel_yolo.data.sources.read_coco", lambda *_: pytest.fail("the json was read again"))
        assert index_of(data).digest == first.digest
    made(tmp_path, [annotation(1, 0), annotation(2, 10)])
    assert len(index_of(data).labels) == 2
    (tmp_path / "images" / "set" / "c.png").unlink()
    assert len(index_of(data)) == 2
