"""What `val` and the end of a training leave in the run folder, on real images and published weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Commands, clean_process

from accel_yolo import cli
from accel_yolo.config.resolve import load_config
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.engine.study import study
from accel_yolo.engine.validate import validate
from accel_yolo.files import mark_run_folder
from accel_yolo.metrics import coco

PICTURES = {
    *("PR_curve.png", "F1_curve.png", "P_curve.png", "R_curve.png", "confusion_matrix.png", "worst.jpg"),
    *("val_batch0_labels.jpg", "val_batch0_pred.jpg"),
}
TABLES = {
    "PR_curve.csv", "F1_curve.csv", "P_curve.csv", "R_curve.csv", "per_class.csv", "worst.csv",
    "confusion_matrix.csv", "confusion_matrix_normalized.csv", "metrics.json",
}  # fmt: skip
IMAGES = 12


@pytest.fixture(scope="module")
def few(coco128: Path, reference_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data YAML of a dozen of the real images, two of which have one file name."""
    root = tmp_path_factory.mktemp("few")
    source = reference_dir / "data" / "coco128"
    for number, path in enumerate(sorted((source / "images").rglob("*.jpg"))[:IMAGES]):
        label = source / "labels" / path.relative_to(source / "images").with_suffix(".txt")
        stem = path.stem if number != 5 else "first"
        place = root / "images" / ("a" if number % 2 else "b") / (f"{stem}.jpg" if number != 6 else "first.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)
        to = Path(str(place).replace("/images/", "/labels/")).with_suffix(".txt")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(label.read_text() if label.exists() else "")
    names = coco128.read_text()[coco128.read_text().index("names:") :]
    (root / "data.yaml").write_text(f"path: {root}\ntrain: images\nval: images\n{names}")
    return root / "data.yaml"


def val(folder: Path, data: Path, weights: Path, *words: str) -> None:
    cleaning = clean_process()
    next(cleaning)
    start = ["--data", str(data), "--weights", str(weights), "--imgsz", "320", "--device", "cpu", "--workers", "0"]
    place = ["--project", str(folder.parent), "--name", folder.name, "--exist-ok", "--quiet"]
    assert cli.run("val", [*start, *place, *words]) == 0
    next(cleaning, None)


@pytest.fixture(scope="module")
def done(few: Path, published_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a validation with label files."""
    folder = tmp_path_factory.mktemp("val") / "exp"
    val(folder, few, published_weights, "--save-txt", "--save-conf", "--save-json", "--worst", "5")
    return folder


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_pictures_and_tables_have_the_names_of_the_reference(done: Path) -> None:
    names = {path.name for path in done.glob("[!.]*")}
    assert names == PICTURES | TABLES | {"config.yaml", "report.html", "labels", "yolov5n_predictions.json"}
    for name in PICTURES:
        assert min(cv2.imread(str(done / name)).shape[:2]) > 300


def test_the_settings_and_where_each_came_from_are_restored(done: Path, few: Path, published_weights: Path) -> None:
    config, origins = load_config(done / "config.yaml")
    assert isinstance(config, ValConfig)
    assert (config.data, config.weights, config.imgsz) == ((str(few),), (str(published_weights),), (320,))
    assert (config.worst, config.save_txt, config.split) == (5, True, "val")
    assert (origins["worst"], origins["conf_thres"]) == ("command line", "default")


def test_every_class_is_in_the_table_with_what_the_metrics_say(done: Path) -> None:
    metrics, rows = metrics_of(done), rows_of(done / "per_class.csv")
    assert len(rows) == len(metrics["per_class"]) > 10
    for row, entry in zip(rows, metrics["per_class"], strict=True):
        assert {key: str(value) for key, value in entry.items()} == row
    assert sum(int(row["instances"]) for row in rows) == metrics["instances"]
    assert all(1 <= int(row["images"]) <= min(IMAGES, int(row["instances"])) for row in rows)


def test_the_confusion_matrix_accounts_for_every_label(done: Path, few: Path) -> None:
    metrics = metrics_of(done)
    with (done / "confusion_matrix.csv").open(newline="") as stream:
        _, *rows = csv.reader(stream)
    counts = np.array([row[1:] for row in rows], dtype=int)
    assert counts.shape == (81, 81)
    assert counts[:, :-1].sum() == metrics["instances"]
    per_class = {int(row["class"]): int(row["instances"]) for row in rows_of(done / "per_class.csv")}
    assert {c: int(counts[:, c].sum()) for c in per_class} == per_class
    assert metrics["confusion"]["missed"] == counts[-1].sum() and metrics["confusion"]["false"] == counts[:, -1].sum()
    misnamed = counts[:-1, :-1].sum() - np.trace(counts[:-1, :-1])
    assert sum(pair["count"] for pair in metrics["confusion"]["misnamed"]) == misnamed


def test_sizes_share_out_the_labels_and_are_those_of_coco(done: Path) -> None:
    metrics = metrics_of(done)
    sizes, coco = metrics["by_size"], metrics["coco"]
    assert sum(sizes[size]["instances"] for size in ("small", "medium", "large")) == sizes["all"]["instances"]
    assert sizes["all"]["instances"] == metrics["instances"]
    for size, key in (("all", "ap"), ("small", "ap_small"), ("medium", "ap_medium"), ("large", "ap_large")):
        assert sizes[size]["ap"] == pytest.approx(coco[key])
    assert 0 < metrics["best_confidence"] < 1


def test_the_worst_images_are_listed_by_their_score(done: Path) -> None:
    rows = rows_of(done / "worst.csv")
    assert len(rows) == 5 and all(Path(row["image"]).is_file() for row in rows)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        assert int(row["missed"]) <= float(row["score"]) <= int(row["missed"]) + int(row["false"])
        named = sum(int(part.split()[0]) for part in row["missed_classes"].split(", ") if part)
        assert named == int(row["missed"])


def test_label_files_hold_the_detections_of_the_results_file(done: Path, few: Path) -> None:
    results = json.loads((done / "yolov5n_predictions.json").read_text())
    files = sorted((done / "labels").iterdir())
    assert len(files) == IMAGES and {"first.txt", "first-2.txt"} <= {path.name for path in files}
    rows = [line.split() for path in files for line in path.read_text().splitlines()]
    assert len(rows) == len(results) and all(len(row) == 6 for row in rows)
    one = next(path for path in files if path.stem.isdecimal())
    height, width = cv2.imread(str(next(few.parent.rglob(f"{one.stem}.jpg")))).shape[:2]
    table = np.array([line.split() for line in one.read_text().splitlines()], dtype=float)
    assert (np.diff(table[:, 5]) >= 0).all()  # the most confident comes last
    mine = [row for row in results if row["image_id"] == int(one.stem)]
    boxes = np.array([row["bbox"] for row in mine])[::-1]
    found = np.column_stack((table[:, 1] - table[:, 3] / 2, table[:, 2] - table[:, 4] / 2, table[:, 3:5]))
    np.testing.assert_allclose(
        found * [width, height] * 2 if False else found * np.tile([width, height], 2), boxes, atol=0.02
    )


def test_the_evaluation_of_coco_is_made_once(
    few: Path, published_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, evaluate = [], coco.coco_metrics
    monkeypatch.setattr(coco, "coco_metrics", lambda *given: made.append(1) or evaluate(*given))
    val(tmp_path / "exp", few, published_weights, "--save-json", "--noplots", "--conf", "0.3")
    assert len(made) == 1
    assert metrics_of(tmp_path / "exp")["coco"]["ap"] > 0


def test_labels_among_the_detections_come_back_as_they_were(few: Path, published_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exp"
    (folder / "labels").mkdir(parents=True)
    mark_run_folder(folder)
    (folder / "labels" / "stale.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "worst.jpg").write_bytes(b"of an older run")
    val(folder, few, published_weights, "--save-hybrid", "--save-conf", "--noplots", "--conf", "0.3")
    assert not (folder / "labels" / "stale.txt").exists()
    assert not {path.name for path in folder.iterdir()} & PICTURES
    checked = 0
    for path in (few.parent / "labels").rglob("*.txt"):
        given = np.array([line.split() for line in path.read_text().splitlines()], dtype=float).reshape(-1, 5)
        if path.stem == "first" or not len(given):
            continue
        written = np.loadtxt(folder / "labels" / path.name, ndmin=2)
        certain = written[written[:, 5] == 1]
        for row in certain:
            assert np.abs(given - row[:5]).max(axis=1).min() < 2e-3
        checked += len(certain)
        # Only labels that overlap each other too much are dropped.
        assert len(certain) >= 0.8 * len(given)
    assert checked > 40


def test_a_study_has_the_metrics_of_val_at_each_size(few: Path, published_weights: Path, tmp_path: Path) -> None:
    settings = {
        "data": str(few), "weights": (str(published_weights),), "device": "cpu", "workers": 0, "quiet": True,
    }  # fmt: skip
    rows = study(ValConfig(task="study", imgsz=(320, 250, 256), project=str(tmp_path / "study"), **settings))
    assert [row.imgsz for row in rows] == [256, 320]
    for row in rows:
        alone = validate(ValConfig(imgsz=(row.imgsz,), project=str(tmp_path / "val"), noplots=True, **settings))
        assert (row.map50, row.map50_95) == (alone["map50"], alone["map50_95"])
        assert row.ms > row.network_ms > 0
    assert {path.name for path in (tmp_path / "study" / "exp").glob("[!.]*")} == {
        "config.yaml", "study.csv", "study.png", "study_data_yolov5n.txt",
    }  # fmt: skip


def test_the_task_of_speed_takes_squares_and_what_a_user_would_see(
    commands: Commands, few: Path, published_weights: Path
) -> None:
    words = ("--task", "speed", "--data", few, "--weights", published_weights, "--imgsz", "128", "--device", "cpu")
    outcome = commands(
        "val", *words, "--workers", "0", "--project", commands.project, "--noplots", "--save-txt", "--save-conf"
    )
    assert "Measured in passes of 4 images of 128 x 128 px" in outcome.succeeded().out
    written = list((commands.project / "exp" / "labels").iterdir())
    confidences = [float(line.split()[5]) for path in written for line in path.read_text().splitlines()]
    assert confidences and min(confidences) > 0.25


@pytest.mark.slow
def test_a_training_ends_with_the_same_findings(commands: Commands, data: Path) -> None:
    words = (
        "--epochs",
        "1",
        "--cfg",
        "yolov5n.yaml",
        "--weights",
        "",
        "--imgsz",
        "64",
        "--batch",
        "4",
        "--workers",
        "0",
    )
    outcome = commands("train", *words, "--device", "cpu", "--data", data, "--project", commands.project)
    outcome.succeeded()
    names = {path.name for path in (commands.project / "exp").iterdir()}
    # Nothing was found: there is a curve of nothing, and every image is as bad.
    assert names >= PICTURES | TABLES


@pytest.fixture(scope="module")
def shared(
    few: Path, published_weights: Path, run_processes: Callable, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Run folders of one and of two processes."""
    folders = []
    for processes in (1, 2):
        project = tmp_path_factory.mktemp(f"of{processes}")
        config = ValConfig(
            data=str(few), weights=(str(published_weights),), imgsz=(320,), device="cpu", workers=0,
            project=str(project), save_txt=True, save_conf=True, quiet=True,
        )  # fmt: skip
        found = run_processes(processes, validate, config)
        numbers = [{key: value for key, value in each.items() if key != "speed_ms"} for each in found]
        assert all(each == numbers[0] for each in numbers)
        folders.append(project / "exp")
    return folders


@pytest.mark.slow
def test_all_files_are_the_same_byte_for_byte_on_one_and_on_two_processes(shared: list[Path]) -> None:
    one, two = ({p.relative_to(f): p.read_bytes() for p in f.rglob("[!.]*") if p.is_file()} for f in shared)
    assert one.keys() == two.keys() and len(one) == len(PICTURES | TABLES) + IMAGES + 2
    # They hold the times, or the name of this folder.
    differing = {path for path in one if one[path] != two[path]}
    assert differing <= {Path("metrics.json"), Path("config.yaml"), Path("report.html")}
