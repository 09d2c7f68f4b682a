"""The `data` commands, as typed, on data sets of every format."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Commands

from accel_yolo.cli import main
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp
from accel_yolo.data.index import SplitIndex, build_index
from accel_yolo.data.keyed_plans import Key
from accel_yolo.data.label_paths import label_path_of
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.split_index import SplitIndex as Index
from accel_yolo.inference.output.drawing import class_colour

SPLITS = ("train", "val")


def ok(commands: Commands, command: str, *words: object) -> str:
    """Return what a command says that succeeds."""
    return commands(command, *map(str, words)).succeeded().out


def fails(commands: Commands, code: int, command: str, *words: object) -> str:
    """Return the one line of the error of a command."""
    return commands(command, *map(str, words)).error(code)


def index_of(data: Path, split: str = "train") -> SplitIndex:
    return build_index(load_data_spec(data), split, single_cls=False, bad_data="fail", workers=1)


def sample_hashes(index: Index) -> list[str]:
    """Return a digest of pixels and labels of every training sample of an epoch with all augmentation on."""
    hyp = Hyp(mixup=0.5, copy_paste=0.5, degrees=10, flipud=0.5)
    samples = TrainSamples(index, PlanSource(index.sizes_hw, 64, hyp), 0, DecodedImages(index, 64, augmenting=True))
    found = []
    for position in range(len(index)):
        pixels = np.zeros((64, 64, 3), np.uint8)
        labels, gains = samples.render(Key(0, position), pixels)
        found.append(hashlib.sha256(pixels.tobytes() + labels.tobytes() + repr(gains).encode()).hexdigest())
    return found


def converted(commands: Commands, data: Path, kind: str, into: Path) -> Path:
    ok(commands, "data convert", "--data", data, "--to", kind, "--into", into)
    return into / "data.yaml"


@pytest.mark.parametrize("source", ["sparse_data", "coco128"])
def test_one_data_set_in_three_formats_gives_the_same_samples_and_comes_back_without_loss(
    commands: Commands, tmp_path: Path, source: str, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(source)
    coco = converted(commands, data, "coco", tmp_path / "coco")
    voc = converted(commands, coco, "voc", tmp_path / "voc")
    yolo = converted(commands, voc, "yolo", tmp_path / "yolo")
    assert [load_data_spec(each).format for each in (data, coco, voc, yolo)] == ["yolo", "coco", "voc", "yolo"]
    first = index_of(data)
    hashes = sample_hashes(first) if source == "sparse_data" else []
    for other in (coco, voc, yolo):
        again = index_of(other)
        assert again.labels.tobytes() == first.labels.tobytes()
        assert again.polygons.tobytes() == first.polygons.tobytes()
        assert (again.label_starts == first.label_starts).all() and (again.polygon_starts == first.polygon_starts).all()
        assert (again.content_keys == first.content_keys).all() and (again.sizes_hw == first.sizes_hw).all()
        assert load_data_spec(other).names == load_data_spec(data).names
        assert not hashes or sample_hashes(again) == hashes


@pytest.mark.slow
def test_metrics_do_not_depend_on_the_format(
    commands: Commands, tmp_path: Path, coco128: Path, published_weights: Path
) -> None:
    found = []
    for kind in ("yolo", "coco", "voc"):
        data = converted(commands, coco128, kind, tmp_path / kind)
        ok(commands, "val", "--data", data, "--weights", published_weights, "--imgsz", 96, "--device", "cpu",
                    "--name", kind, "--workers", 0)  # fmt: skip
        metrics = json.loads((tmp_path / "here" / "runs" / "val" / kind / "metrics.json").read_text())
        found.append({key: value for key, value in metrics.items() if key not in ("speed_ms", "coco")})
    assert found[0] == found[1] == found[2]
    assert found[0]["instances"] == 929


def test_converting_some_classes_keeps_only_theirs(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    into = tmp_path / "out"
    ok(commands, "data convert", "--data", sparse_data, "--to", "voc", "--into", into, "--classes", "c", "a")
    assert load_data_spec(into / "data.yaml").names == {0: "a", 1: "c"}
    plain = index_of(sparse_data).labels
    assert len(index_of(into / "data.yaml").labels) == int((plain[:, 0] != 1).sum())


def test_nothing_is_overwritten(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for verb in ("data convert", "data split"):
        error = fails(commands, 2, verb, "--data", sparse_data, "--into", tmp_path / "full")
        assert "the folder is not empty" in error
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_folders_and_names_of_any_kind_survive_a_conversion(
    commands: Commands, tmp_path: Path, sparse_data: Path, kind: str
) -> None:
    root = tmp_path / "odd"
    source = sparse_data.parent
    for folder in ("s1/images", "s2/JPEGImages", "s 3"):
        place = root / "photos" / folder
        place.mkdir(parents=True)
        for number in range(0, 24, 4):
            name = f"my {folder[1]} {number}"
            shutil.copyfile(source / "images" / "train" / f"{number:03d}.png", place / f"{name}.png")
            label = Path(label_path_of(str(place / f"{name}.png")))
            label.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / "labels" / "train" / f"{number:03d}.txt", label)
    data = root / "data.yaml"
    data.write_text(f"path: {root}\nformat: yolo\ntrain: photos\nval: photos\nnames: [a, b, c]\n")
    again = index_of(converted(commands, data, kind, tmp_path / "out"))
    first = index_of(data)
    assert len(first.labels) > 20
    assert (again.labels.tobytes(), len(again)) == (first.labels.tobytes(), len(first))


def test_a_folder_among_the_images_is_refused(commands: Commands, sparse_data: Path) -> None:
    inside = sparse_data.parent / "images" / "train" / "copy"
    for verb, flag in (("convert", "--into"), ("check", "--repair"), ("split", "--into")):
        assert "the folder lies in the data set" in fails(
            commands, 2, f"data {verb}", "--data", sparse_data, flag, inside
        )
    assert not inside.exists()


def test_what_cannot_be_written_leaves_nothing_behind(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    data = tmp_path / "twins" / "data.yaml"
    shutil.copytree(sparse_data.parent, data.parent)
    shutil.copyfile(data.parent / "images" / "val" / "000.png", data.parent / "images" / "val" / "000.bmp")
    data.write_text(data.read_text().replace(str(sparse_data.parent), str(data.parent)))
    error = fails(commands, 3, "data convert", "--data", data, "--to", "coco", "--into", tmp_path / "out")
    assert "two images differ in their ending only" in error
    data.write_text(data.read_text().replace("[a, b, c]", "[a, b, ' c']"))
    (data.parent / "images" / "val" / "000.bmp").unlink()
    assert "a class name that cannot be written" in fails(
        commands, 3, "data convert", "--data", data, "--to", "voc", "--into", tmp_path / "out"
    )
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == []


def test_a_list_that_exists_is_not_overwritten(commands: Commands, sparse_data: Path) -> None:
    before = sparse_data.read_bytes()
    assert "the file exists in --list" in fails(commands, 2, "data check", "--data", sparse_data, "--list", sparse_data)
    assert sparse_data.read_bytes() == before


def bad_data(root: Path, sparse_data: Path) -> Path:
    """Copy a data set and break five lines in three files, and one image."""
    shutil.copytree(sparse_data.parent, root)
    labels = root / "labels" / "train"
    (labels / "000.txt").write_text("0 0.5 0.5 0.2 0.2\n9 0.5 0.5 0.1 0.1\n1 0.95 0.5 0.2 1.2\nx\n")
    (labels / "004.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n0 0.5\n")
    (labels / "001.txt").write_text("0 7 8 9 10\n")
    (root / "images" / "train" / "008.png").write_bytes(b"no image")
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [a, b, c]\n")
    return root / "data.yaml"


def test_check_lists_every_problem_with_file_and_line(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    data = bad_data(tmp_path / "bad", sparse_data)
    error = fails(commands, 3, "data check", "--data", data, "--list", tmp_path / "found.csv")
    assert "the data set has problems" in error and "6 in 4 files" in error and "--repair" in error
    rows = list(csv.DictReader((tmp_path / "found.csv").open()))
    places = sorted((Path(row["file"]).name, row["line"]) for row in rows if row["drops_image"] == "True")
    assert places == [("000.txt", "2"), ("000.txt", "3"), ("000.txt", "4"), ("001.txt", "1"), ("004.txt", "3"),
                      ("008.png", "")]  # fmt: skip
    assert [row["rule"] for row in rows if row["drops_image"] == "False"] == ["duplicate rows were left out"]


@pytest.mark.parametrize("kind", ["yolo", "coco", "voc"])
def test_a_repaired_copy_keeps_what_is_good_and_has_no_problems(
    commands: Commands, tmp_path: Path, sparse_data: Path, kind: str
) -> None:
    data = bad_data(tmp_path / "bad", sparse_data)
    if kind != "yolo":
        # Break the same data set in another format: what YOLO cannot say wrongly, the other can.
        data = converted(commands, sparse_data, kind, tmp_path / "made")
        file = next((tmp_path / "made").rglob("train/000.xml" if kind == "voc" else "train.json"))
        text = file.read_text()
        file.write_text(text.replace('"category_id": 1', '"category_id": 77', 1) if kind == "coco" else
                        text.replace("<name>", "<name>no ", 1))  # fmt: skip
        fails(commands, 3, "data check", "--data", data)
    ok(commands, "data check", "--data", data, "--repair", tmp_path / "mended")
    assert "Nothing is wrong" in ok(commands, "data check", "--data", tmp_path / "mended" / "data.yaml")
    mended = index_of(tmp_path / "mended" / "data.yaml")
    if kind == "yolo":
        assert len(mended) == 25
        first = next(number for number, path in enumerate(mended.paths) if path.endswith("000.png"))
        assert mended.labels_of(first)[:, 1:].tolist() == [
            pytest.approx([0.5, 0.5, 0.2, 0.2]), pytest.approx([0.925, 0.5, 0.15, 1.0])
        ]  # fmt: skip
    else:
        assert len(mended.labels) == len(index_of(sparse_data).labels) - 1


def test_a_split_depends_on_content_and_seed_only_and_keeps_copies_together(
    commands: Commands, tmp_path: Path, sparse_data: Path
) -> None:
    root = tmp_path / "named_otherwise"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    files = sorted((sparse_data.parent / "images").rglob("*.png"))
    for number, file in enumerate(reversed(files)):
        label = Path(str(file).replace("images", "labels")).with_suffix(".txt")
        for copy in ("", "_again"):
            shutil.copyfile(file, root / "images" / f"x{number}{copy}.png")
            shutil.copyfile(label, root / "labels" / f"x{number}{copy}.txt")
    other = root / "data.yaml"
    other.write_text("train: images\nval: images\nnames: [a, b, c]\n")
    keys = {}
    for name, data in (("one", sparse_data), ("two", other)):
        ok(commands, "data split", "--data", data, "--val", 0.2, "--test", 0.2, "--into", tmp_path / name)
        keys[name] = {
            split: set(index_of(tmp_path / name / "data.yaml", split).content_keys) for split in (*SPLITS, "test")
        }
    assert keys["one"] == keys["two"]
    assert {split: len(each) for split, each in keys["one"].items()} == {"train": 21, "val": 7, "test": 7}
    ok(commands, "data split", "--data", sparse_data, "--val", 0.2, "--seed", 1, "--into", tmp_path / "three")
    assert set(index_of(tmp_path / "three" / "data.yaml", "val").content_keys) != keys["one"]["val"]


@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_a_split_of_another_format_stays_in_it(
    commands: Commands, tmp_path: Path, sparse_data: Path, kind: str
) -> None:
    data = converted(commands, sparse_data, kind, tmp_path / kind)
    ok(commands, "data split", "--data", data, "--into", tmp_path / "split")
    spec = load_data_spec(tmp_path / "split" / "data.yaml")
    total = sum(len(index_of(tmp_path / "split" / "data.yaml", split).labels) for split in SPLITS)
    assert (spec.format, total) == (kind, sum(len(index_of(sparse_data, split).labels) for split in SPLITS))


def test_shares_that_leave_nothing_to_train_on_are_refused_with_what_to_give(
    commands: Commands, tmp_path: Path, sparse_data: Path
) -> None:
    line = fails(
        commands, 3, "data split", "--data", sparse_data, "--val", 0.9, "--test", 0.9, "--into", tmp_path / "s"
    )
    assert line.endswith("in --val and --test: 0.9 and 0.9; give shares that add up to less than 1")


def test_stats_count_what_is_there(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    out = ok(commands, "data stats", "--data", sparse_data, "--imgsz", 64, "--into", tmp_path / "stats")
    found = json.loads((tmp_path / "stats" / "stats.json").read_text())
    index = index_of(sparse_data)
    assert (found["train"]["images"], found["train"]["objects"]) == (26, len(index.labels))
    assert {each["name"]: each["objects"] for each in found["train"]["classes"]} == {
        name: int((index.labels[:, 0] == number).sum()) for number, name in enumerate("abc")
    }
    assert found["train"]["outlines"] == int((np.diff(index.polygon_starts) > 0).sum())
    assert "26 images" in out
    assert (tmp_path / "stats" / "train.png").read_bytes()[:4] == b"\x89PNG"


def test_show_draws_the_boxes_of_the_classes_that_are_asked_for(
    commands: Commands, tmp_path: Path, sparse_data: Path
) -> None:
    words = ("--data", sparse_data, "--split", "train", "--images", 26, "--columns", 6, "--tile", 96)
    for name, classes in (("all", []), ("one", ["--classes", "b"])):
        ok(commands, "data show", *words, "--into", tmp_path / name, *classes)
    sheet, some = (cv2.imread(str(tmp_path / name / "data-train.jpg")).astype(int) for name in ("all", "one"))
    assert sheet.shape == (5 * 102 + 6, 6 * 102 + 6, 3)
    index = index_of(sparse_data)
    shown = sum((index.labels_of(image)[:, 0] == 1).any() for image in range(len(index)))
    assert some.shape == (-(-shown // 6) * 102 + 6, min(shown, 6) * 102 + 6, 3)
    colours = {number: np.array(class_colour(number)[::-1]) for number in range(3)}
    seen = {number: int((np.abs(some - colour).max(-1) < 40).sum()) for number, colour in colours.items()}
    assert seen[1] > 50 and seen[0] < 20 and seen[2] < 20
    assert all(int((np.abs(sheet - colour).max(-1) < 40).sum()) > 50 for colour in colours.values())
    assert "no such class" in fails(commands, 2, "data show", "--data", sparse_data, "--classes", "z")


def test_pictures_and_numbers_go_into_a_new_folder_each_time(
    commands: Commands, tmp_path: Path, sparse_data: Path
) -> None:
    for _ in range(2):
        ok(commands, "data show", "--data", sparse_data, "--images", 1, "--into", tmp_path / "sheets")
        ok(commands, "data stats", "--data", sparse_data, "--into", tmp_path / "stats")
    assert {path.name for path in tmp_path.iterdir()} >= {"sheets", "sheets2", "stats", "stats2"}


def test_a_sheet_that_no_picture_can_hold_is_refused(commands: Commands, sparse_data: Path) -> None:
    words = ("--data", sparse_data, "--images", 26, "--columns", 1, "--tile", 4096)
    assert "the sheet is too large" in fails(commands, 2, "data show", *words)


def test_splits_that_are_not_asked_for_need_not_be_there(commands: Commands, tmp_path: Path, sparse_data: Path) -> None:
    data = tmp_path / "part.yaml"
    start = f"path: {sparse_data.parent}\nnames: [a, b, c]\ntrain: images/train\n"
    data.write_text(start)
    assert "val" not in ok(commands, "data check", "--data", data, "--split", "train")
    data.write_text(start + "val: images/nowhere\n")
    ok(commands, "data stats", "--data", data, "--split", "train")
    assert "missing images" in fails(commands, 3, "data stats", "--data", data)
    (tmp_path / "unlabelled").mkdir()
    shutil.copy(sparse_data.parent / "images" / "val" / "000.png", tmp_path / "unlabelled")
    data.write_text(start + f"val: images/val\ntest: {tmp_path / 'unlabelled'}\n")
    ok(commands, "data stats", "--data", data)
    assert "no labels" in fails(commands, 3, "data stats", "--data", data, "--split", "test")


def test_findings_with_control_characters_are_shown_escaped(
    commands: Commands, tmp_path: Path, sparse_data: Path
) -> None:
    data = converted(commands, sparse_data, "coco", tmp_path / "coco")
    file = tmp_path / "coco" / "annotations" / "train.json"
    content = json.loads(file.read_text())
    content["images"][0]["id"] = "\x1b[31m\n"
    content["annotations"] = [each | {"image_id": "\x1b[31m\n", "bbox": None} for each in content["annotations"][:1]]
    file.write_text(json.dumps(content))
    outcome = commands("data check", "--data", str(data), "--list", str(tmp_path / "found.csv"))
    assert "\x1b[31m" not in outcome.out + (tmp_path / "found.csv").read_text()


def test_the_verbs_are_listed_and_a_wrong_one_is_corrected(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    assert "data convert" in capfd.readouterr().out
    assert main(["data", "shw"]) == 2
    assert "did you mean 'data show'?" in capfd.readouterr().err
