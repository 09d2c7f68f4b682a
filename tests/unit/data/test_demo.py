"""The demo data set: the same bytes each time, complete or absent, and a test of learning shapes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data import demo, demo_scene
from accel_yolo.data.demo_shapes import SHAPES, shape_mask
from accel_yolo.data.images import read_image
from accel_yolo.data.index import build_index
from accel_yolo.errors import DataError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of seven images, so that it is drawn in no time."""
    monkeypatch.setattr(demo, "SPLITS", {"train": 5, "val": 2})


@pytest.fixture(scope="module")
def scenes() -> list[demo_scene.Scene]:
    return [demo.demo_scene("train", number) for number in range(300)]


def content_of(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.usefixtures("small")
def test_two_generations_are_equal_byte_for_byte(tmp_path: Path) -> None:
    one = demo.ensure_demo(tmp_path / "one")
    other = demo.ensure_demo(tmp_path / "other")
    assert content_of(one) == content_of(other)
    assert len(content_of(one)) == 2 * 7 + 1


@pytest.mark.usefixtures("small")
def test_a_complete_set_is_left_alone(tmp_path: Path) -> None:
    root = demo.ensure_demo(tmp_path / "demo")
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert demo.ensure_demo(root) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["demo"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("damage", ["label", "image", "missing", "extra", "version"])
def test_a_damaged_or_older_set_is_generated_anew(tmp_path: Path, damage: str) -> None:
    root = demo.ensure_demo(tmp_path / "demo")
    sound = content_of(root)
    image = root / "images" / "train" / "train_0001.jpg"
    if damage == "label":
        (root / "labels" / "val" / "val_0000.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    elif damage == "image":
        image.write_bytes(image.read_bytes()[:-1])
    elif damage == "missing":
        image.unlink()
    elif damage == "extra":
        image.with_name("more.jpg").write_bytes(image.read_bytes())
    else:
        marker = json.loads((root / "demo.json").read_text())
        (root / "demo.json").write_text(json.dumps({**marker, "version": 0}))
    demo.ensure_demo(root)
    assert content_of(root) == sound


@pytest.mark.usefixtures("small")
def test_an_interrupted_generation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(split: str, number: int) -> demo_scene.Scene:
        if number == 3:
            raise KeyboardInterrupt
        return demo_scene.draw_scene(np.random.default_rng(number))

    monkeypatch.setattr(demo, "demo_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.ensure_demo(tmp_path / "demo")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.usefixtures("small")
def test_a_folder_with_something_else_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "demo" / "images" / "mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match="holds something else"):
        demo.ensure_demo(tmp_path / "demo")
    assert content_of(tmp_path / "demo") == {"images/mine.jpg": hashlib.sha256(b"mine").hexdigest()}


@pytest.mark.usefixtures("small")
def test_the_shipped_description_generates_it_and_its_names_are_the_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCEL_YOLO_DATASETS_DIR", str(tmp_path))
    spec = load_data_spec("demo")
    assert tuple(spec.names.values()) == SHAPES
    index = build_index(spec, "val", single_cls=False, bad_data="fail", workers=1)
    assert (len(index), index.counts.background, index.counts.duplicates_removed) == (2, 0, 0)
    assert index.paths[0] == str(tmp_path / "demo" / "images" / "val" / "val_0000.jpg")


@pytest.mark.usefixtures("small")
def test_what_is_written_is_what_was_drawn(tmp_path: Path) -> None:
    root = demo.ensure_demo(tmp_path / "demo")
    scene = demo.demo_scene("train", 2)
    image = read_image(str(root / "images" / "train" / "train_0002.jpg"))
    assert np.abs(image.astype(int) - scene.image).mean() < 8
    rows = np.loadtxt(root / "labels" / "train" / "train_0002.txt", ndmin=2)
    np.testing.assert_allclose(rows.reshape(-1, 5), scene.boxes, atol=1e-6)


def test_it_is_large_enough_and_validation_images_are_held_out() -> None:
    assert demo.SPLITS["train"] >= 600
    assert demo.SPLITS["val"] >= 150
    for number in range(5):
        one, other = demo.demo_scene("train", number).image, demo.demo_scene("val", number).image
        assert one.shape != other.shape or (one != other).any()


def test_a_tenth_of_the_images_is_empty_and_the_others_hold_one_to_eight_objects(scenes) -> None:
    counts = np.array([len(scene.boxes) for scene in scenes])
    assert 0.05 < (counts == 0).mean() < 0.15
    assert set(range(1, 9)) <= set(counts.tolist()) <= set(range(9))


def test_classes_are_balanced_and_sizes_spread_from_five_to_sixty_percent(scenes) -> None:
    boxes = np.concatenate([scene.boxes for scene in scenes])
    shares = np.bincount(boxes[:, 0].astype(int), minlength=len(SHAPES)) / len(boxes)
    assert shares.min() > 0.12
    assert shares.max() < 0.22
    sides = np.concatenate(
        [scene.boxes[:, 3:] * scene.image.shape[1::-1] / min(scene.image.shape[:2]) for scene in scenes]
    )
    longer = sides.max(axis=1)
    assert longer.min() > 0.04
    assert longer.max() < 0.63
    assert (longer < 0.1).mean() > 0.1
    assert (longer > 0.3).mean() > 0.3


def test_boxes_lie_inside_the_image(scenes) -> None:
    boxes = np.concatenate([scene.boxes for scene in scenes])
    assert (boxes[:, 1:3] - boxes[:, 3:] / 2 > -1e-9).all()
    assert (boxes[:, 1:3] + boxes[:, 3:] / 2 < 1 + 1e-9).all()


def test_objects_overlap_now_and_then(scenes) -> None:
    def overlapping(boxes: np.ndarray) -> bool:
        near = np.abs(boxes[:, None, 1:3] - boxes[None, :, 1:3]) * 2 < boxes[:, None, 3:] + boxes[None, :, 3:]
        return bool(near.all(axis=2).sum() > len(boxes))

    assert np.mean([overlapping(scene.boxes) for scene in scenes]) > 0.3


def test_colour_says_nothing_about_the_class(scenes) -> None:
    """The mean colours of the classes, measured at the middle of the boxes, are alike."""
    colours: list[list[np.ndarray]] = [[] for _ in SHAPES]
    for scene in scenes:
        height, width = scene.image.shape[:2]
        for kind, cx, cy, w, h in scene.boxes:
            y, x = int((cy - 0.15 * h) * height), int((cx - 0.2 * w) * width)
            colours[int(kind)].append(scene.image[y, x].astype(float))
    means = np.array([np.mean(of_class, axis=0) for of_class in colours])
    spread = np.std(np.concatenate([np.array(of_class) for of_class in colours]), axis=0)
    assert (np.ptp(means, axis=0) < spread).all()


@pytest.mark.parametrize("kind", range(len(SHAPES)))
def test_a_mask_fills_its_extents_and_its_outline_tells_the_class(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for _ in range(20):
        mask = shape_mask(kind, 60.0, rng)
        assert 59 <= max(mask.shape) <= 61
        solid = mask > 127
        assert solid.any(axis=0)[1:-1].all()
        assert solid.any(axis=1)[1:-1].all()
        outlines, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        outline = max(outlines, key=cv2.contourArea)
        filled = cv2.contourArea(outline) / cv2.contourArea(cv2.convexHull(outline))
        corners = len(cv2.approxPolyDP(cv2.convexHull(outline), 4.5, True))
        assert len(outlines) == (2 if SHAPES[kind] == "ring" else 1)
        assert (filled > 0.9) == (SHAPES[kind] in ("circle", "square", "triangle", "ring"))
        if filled > 0.9:
            assert {3: "triangle", 4: "square"}.get(corners, SHAPES[kind]) == SHAPES[kind]


@pytest.mark.slow
def test_the_whole_set_is_usable_without_a_single_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL_YOLO_DATASETS_DIR", str(tmp_path))
    spec = load_data_spec("demo")
    for split, images in demo.SPLITS.items():
        index = build_index(spec, split, single_cls=False, bad_data="fail", workers=2)
        assert (len(index), index.counts.dropped, index.counts.duplicates_removed) == (images, 0, 0)
