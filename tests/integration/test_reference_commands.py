"""The reference's own smoke commands, as its users type them, run and leave what they promise."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from accel_yolo.models.weights import load_weights

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def machine(reference_dir: Path, tmp_path: Path) -> Path:
    """A working folder with the coco128 data set where the shipped coco128.yaml looks for it."""
    for kind in ("images", "labels"):
        folder = tmp_path / "datasets" / "coco128" / kind
        folder.mkdir(parents=True)
        (folder / "train2017").symlink_to(reference_dir / "data" / "coco128" / kind)
    return tmp_path


def run(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ACCEL_YOLO_DATASETS_DIR": str(machine / "datasets"), "OMP_NUM_THREADS": "1"}
    script, *arguments = words
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], cwd=machine, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def run_suggested(machine: Path, words: list[str]) -> None:
    """Run a command line that a program suggested."""
    environment = {**os.environ, "ACCEL_YOLO_DATASETS_DIR": str(machine / "datasets"), "OMP_NUM_THREADS": "1"}
    folder = Path(sys.executable).parent
    environment["PATH"] = f"{folder}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(words, cwd=machine, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_trained(run_folder: Path, epochs: int) -> None:
    with (run_folder / "results.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert [name.strip() for name in rows[0]][:8] == [
        "epoch", "train/box_loss", "train/obj_loss", "train/cls_loss", "metrics/precision", "metrics/recall",
        "metrics/mAP_0.5", "metrics/mAP_0.5:0.95",
    ]  # fmt: skip
    assert len(rows) == 1 + epochs
    for name in ("last", "best"):
        assert load_weights(run_folder / "weights" / f"{name}.safetensors").meta.names[0] == "person"
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert metrics["images"] == 128 and metrics["instances"] == 929
    for name in ("config.yaml", "log.txt"):
        assert (run_folder / name).stat().st_size > 0
    assert list((run_folder / "checkpoints").glob("*/manifest.json"))


@pytest.mark.slow
def test_training_from_weights(machine: Path, published_weights: Path) -> None:
    done = run(
        machine, "train.py", "--imgsz", "64", "--batch", "32", "--weights", str(published_weights),
        "--cfg", "yolov5n.yaml", "--epochs", "1", "--device", "cpu",
    )  # fmt: skip
    check_trained(machine / "runs" / "train" / "exp", 1)
    _, _, last_words = done.stdout.partition("Next:")
    suggested = [shlex.split(line) for line in last_words.strip().splitlines()]
    assert all(name in words for name, words in zip(("val", "predict", "export"), suggested, strict=True))
    for words in suggested:
        run_suggested(machine, words)
    assert "AGPL-3.0" in done.stderr
    meta = load_weights(machine / "runs" / "train" / "exp" / "weights" / "best.safetensors").meta
    assert meta.licence == "AGPL-3.0", "a licence follows the weights through fine-tuning"


@pytest.mark.slow
def test_training_from_scratch(machine: Path) -> None:
    run(
        machine, "train.py", "--imgsz", "64", "--batch", "32", "--weights", "", "--cfg", "yolov5n.yaml",
        "--epochs", "1", "--device", "cpu",
    )  # fmt: skip
    check_trained(machine / "runs" / "train" / "exp", 1)


@pytest.mark.slow
def test_validation(machine: Path, published_weights: Path) -> None:
    done = run(
        machine, "val.py", "--imgsz", "64", "--batch", "32", "--weights", str(published_weights), "--device", "cpu"
    )
    metrics = json.loads((machine / "runs" / "val" / "exp" / "metrics.json").read_text())
    assert {"images", "instances", "precision", "recall", "map50", "map50_95", "per_class", "speed_ms"} <= set(metrics)
    assert "mAP50-95" in done.stdout


def test_detection_without_a_source_shows_the_demo_images(machine: Path, published_weights: Path) -> None:
    run(machine, "detect.py", "--imgsz", "64", "--weights", str(published_weights), "--device", "cpu")
    assert list((machine / "runs" / "detect" / "exp").glob("*.jpg"))
