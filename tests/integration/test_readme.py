"""Every command of the README and of docs/data.md runs, on smaller images and fewer epochs; so does its Python."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from guide_commands import Place, cpu_form
from own_data import make_own_data

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def commands_of(text: str) -> list[str]:
    """Return the lines of the blocks of a document that have no language."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    return [line for kind, block in blocks if not kind for line in block.strip().splitlines()]


COMMANDS = commands_of(README)
SMALLER = {"--img": "64", "--imgsz": "64", "--epochs": "1"}
BY_MAKE = {"make demo": "it takes minutes; what it calls is in the guide", "make test": "us"}
ON_GPUS = ("--device 0,1", "2gpu.yaml", "torchrun")
"""Of commands that hold one of these, the form for CPUs is run."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, reference_dir: Path) -> Path:
    """Where the commands are typed: copies of the scripts, the data set in its place, weights of the README's name."""
    place = tmp_path_factory.mktemp("readme")
    for name in ("train.py", "val.py", "detect.py"):
        shutil.copy(ROOT / name, place)
    (place / "accelerate_configs").symlink_to(ROOT / "accelerate_configs")
    for kind in ("images", "labels"):
        (place / "datasets" / "coco128" / kind).mkdir(parents=True)
        (place / "datasets" / "coco128" / kind / "train2017").symlink_to(reference_dir / "data" / "coco128" / kind)
    shutil.copy(reference_dir / "data" / "yolov5n.pt", place / "yolov5s.pt")
    (place / "images").mkdir()
    image = sorted((reference_dir / "data" / "coco128" / "images").iterdir())[0]
    shutil.copy(image, place / "images")
    shutil.copy(image, place / "image.jpg")
    return place


def run(folder: Path, words: list[str]) -> None:
    environment = {
        **os.environ,
        "ACCEL_YOLO_DATASETS_DIR": str(folder / "datasets"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_every_command_runs(folder: Path, sparse_data: Path) -> None:
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        if command in BY_MAKE:
            continue
        if any(sign in command for sign in ON_GPUS):
            run(folder, cpu_form(command, Place(sparse_data, "127.0.0.1", 0)))
            continue
        run(folder, smaller(command))


@pytest.mark.slow
def test_every_command_about_data_runs(folder: Path, sparse_data: Path) -> None:
    for name in ("my.yaml", "a.yaml", "b.yaml"):
        shutil.copy(sparse_data, folder / name)
    shutil.rmtree(folder / "coco128-as-coco", ignore_errors=True)
    if not (folder / "my_images").exists():
        make_own_data(folder / "my_images", sparse_data)
    commands = commands_of((ROOT / "docs" / "data.md").read_text())
    assert len(commands) >= 9
    for command in commands:
        words = smaller(command)
        words += ["--cfg", "yolov5n", "--weights", ""] if "train.py" in words else []
        run(folder, words)
    assert (folder / "coco128-as-coco" / "annotations" / "train.json").is_file()


def smaller(command: str) -> list[str]:
    """Return the words of a command, with fewer epochs of smaller images."""
    words = shlex.split(command, comments=True)
    for flag, value in SMALLER.items():
        if flag in words:
            words[words.index(flag) + 1] = value
    if "train" in words[0] + words[1] or "train.py" in words:
        words += [] if "--epochs" in words else ["--epochs", "1"]
        words += [] if {"--img", "--imgsz"} & set(words) else ["--imgsz", "64"]
    words[0] = sys.executable if words[0] == "python" else words[0]
    return words


@pytest.mark.slow
def test_the_python_of_the_readme_runs(folder: Path, published_weights: Path) -> None:
    (program,) = [block for kind, block in BLOCKS if kind == "python"]
    best = folder / "runs" / "train" / "exp" / "weights" / "best.safetensors"
    if not best.exists():
        run(folder, [sys.executable, "-m", "accel_yolo", "convert", str(published_weights), str(best)])
    run(folder, [sys.executable, "-c", program])
    assert list((folder / "drawn").iterdir())
