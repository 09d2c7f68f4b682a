"""The `data` commands, as typed, on data sets of every format."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from commands import Commands

from accel_yolo.cli import main
from accel_yolo.config.dataset import load_data_spec
from accel_yolo.config.schema import Hyp
from accel_yolo.data.index import SplitIndex, build_index
from accel_yolo.data.packed import DecodedImages
from accel_yolo.data.plan import PlanSource
from accel_yolo.data.samples import TrainSamples
from accel_yolo.data.split_index import SplitIndex as Index

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
        labels, gains = samples.render((0, position), pixels)
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


def bad_data(root: Path, sparse_data: Path) -> Path:
    """Copy a data set and break five lines in three files, and one image."""
    import shutil

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
    import shutil

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
    import cv2

    for name, classes in (("all", []), ("one", ["--classes", "b"])):
        ok(commands, "data show", "--data", sparse_data, "--split", "train", "--images", 4, "--columns", 2,
                    "--tile", 96, "--into", tmp_path / name, *classes)  # fmt: skip
    sheet = cv2.imread(str(tmp_path / "all" / "data-train.jpg"))
    assert sheet.shape == (2 * 102 + 6, 2 * 102 + 6, 3)
    assert (tmp_path / "one" / "data-train.jpg").is_file()
    assert "no such class" in fails(commands, 2, "data show", "--data", sparse_data, "--classes", "z")


def test_the_verbs_are_listed_and_a_wrong_one_is_corrected(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    assert "data convert" in capfd.readouterr().out
    assert main(["data", "shw"]) == 2
    assert "did you mean 'data show'?" in capfd.readouterr().err
