"""The commands of docs/start.md, one after the other as they stand there, in an empty folder with a user's images."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
from own_data import make_own_data

from accel_yolo.config.flags import COMMANDS, parse

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "start.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS_SHOWN = [line for kind, text in BLOCKS if kind == "bash" for line in text.strip().splitlines()]
OURS = [command for command in COMMANDS_SHOWN if command.startswith("accel-yolo ")]
INSTALLS = [command for command in COMMANDS_SHOWN if command not in OURS]
QUICK = {
    "train": ["--epochs", "1", "--imgsz", "64", "--workers", "0"],
    "predict": ["--imgsz", "64"],
    "export": ["--imgsz", "64"],
}
"""Flags with which a command is quick; the last of two flags counts."""


@dataclass(frozen=True)
class Typed:
    """What a command of the page said: its words, and its lines on both channels."""

    command: str
    out: list[str]
    err: list[str]


def quick(command: str) -> list[str]:
    """Return the words of a command, small and on the CPU; an ONNX file has the size that it was exported with."""
    words = shlex.split(command)
    more = [] if ".onnx" in command else QUICK.get(words[1], [])
    device = ["--device", "cpu"] if words[1] in QUICK else []
    return [sys.executable, "-m", "accel_yolo", *words[1:], *more, *device]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, coco128: Path, published_weights: Path) -> Path:
    """An empty folder with `my_images` and `video.mp4`, and a cache in which the published weights are already."""
    place = tmp_path_factory.mktemp("hour")
    make_own_data(place / "my_images", coco128, classes=("person", "car", "dog"), images=20)
    frames = [cv2.imread(str(path)) for path in sorted((place / "my_images" / "images").iterdir())[:5]]
    writer = cv2.VideoWriter(str(place / "video.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 5, (320, 240))
    for frame in frames:
        writer.write(cv2.resize(frame, (320, 240)))
    writer.release()
    (place / "cache" / "weights").mkdir(parents=True)
    shutil.copy(published_weights, place / "cache" / "weights" / "yolov5n.pt")
    return place


@pytest.fixture(scope="module")
def walked(folder: Path) -> Iterator[list[Typed]]:
    """All commands of the page, typed in its order; each must succeed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).absolute().parent}{os.pathsep}{os.environ['PATH']}",  # as after `activate`
        "PYTHONPATH": str(ROOT),
        "ACCEL_YOLO_CACHE": str(folder / "cache"),
    }
    environment.pop("ACCEL_YOLO_DATASETS_DIR", None)
    typed = []
    for command in OURS:
        done = subprocess.run(quick(command), cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        typed.append(Typed(command, done.stdout.strip().splitlines(), done.stderr.replace("\r", "\n").splitlines()))
    yield typed


def of(walked: list[Typed], start: str) -> Typed:
    return next(typed for typed in walked if typed.command.startswith(f"accel-yolo {start}"))


def test_each_step_is_one_command_without_a_yaml() -> None:
    assert [command.split()[1] for command in OURS] == ["data", "data", "train", "predict", "export", "predict"]
    assert "yaml" not in " ".join(OURS)
    for command in OURS:
        words = shlex.split(command)[1:]
        name = " ".join(words[:2]) if words[0] == "data" else words[0]
        assert name in COMMANDS
        parse(name, words[len(name.split()) :])


def test_the_installation_is_of_the_checkout_with_an_extra_that_there_is() -> None:
    assert INSTALLS == ["python -m venv .venv", ".venv/bin/pip install '.[export]'"]
    assert "\nexport = [" in (ROOT / "pyproject.toml").read_text()


@pytest.mark.slow
def test_each_step_names_the_next_and_leaves_what_the_page_says(walked: list[Typed], folder: Path) -> None:
    check, show, train = of(walked, "data check"), of(walked, "data show"), of(walked, "train")
    assert any("my_images is read as COCO" in line for line in check.err)
    assert check.out[-1] == "Look at it: accel-yolo data show --data my_images"
    assert show.out[-1] == "Train on it: accel-yolo train --data my_images"
    sheets = {path.name for path in (folder / "runs" / "data").glob("*.jpg")}
    assert sheets == {"my_images-train.jpg", "my_images-val.jpg"}
    following = [line.partition(" --weights")[0].split()[-1] for line in train.out[-3:]]
    assert following == ["val", "predict", "export"]
    run = folder / "runs" / "train" / "exp"
    for name in ("worst.jpg", "results.png", "PR_curve.png", "confusion_matrix.png", "report.html"):
        assert (run / name).is_file(), name
    for name in ("val_batch0_labels.jpg", "val_batch0_pred.jpg"):
        assert (run / name).is_file(), name
    assert (run / "weights" / "best.onnx").is_file()
    assert "accel-yolo predict --weights runs/train/exp/weights/best.onnx" in of(walked, "export").out[-1]


@pytest.mark.slow
def test_videos_are_written_by_torch_and_by_onnx_alike(walked: list[Typed], folder: Path) -> None:
    videos = sorted((folder / "runs").glob("*/exp*/video.mp4"))
    assert len(videos) == 2
    assert {int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) for video in videos} == {5}


@pytest.mark.slow
def test_nothing_is_written_into_the_images_and_the_python_of_the_page_runs(walked: list[Typed], folder: Path) -> None:
    assert sorted(path.name for path in (folder / "my_images").iterdir()) == ["annotations.json", "images"]
    (program,) = [text for kind, text in BLOCKS if kind == "python"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ".jpg: " in done.stdout
