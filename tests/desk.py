"""A desk at which the pages of the documentation are typed: a folder with what stands for the user's files."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from commands import clean_process
from documentation import DESK, ROOT, SHELL, ours_in, way_of
from own_data import make_own_data
from videos import write_video

from accel_yolo.cli import main

SMALL: dict[str, dict[str, str]] = {
    "train": {"--imgsz": "64", "--epochs": "1", "--batch": "8", "--workers": "0", "--device": "cpu", "--noplots": ""},
    "tune": {"--imgsz": "64", "--epochs": "1", "--batch": "8", "--workers": "0", "--device": "cpu", "--trials": "1"},
    "val": {"--imgsz": "64", "--batch": "8", "--workers": "0", "--device": "cpu", "--noplots": ""},
    "predict": {"--imgsz": "64", "--device": "cpu"},
    "export": {"--device": "cpu"},
    "benchmark": {"--imgsz": "64", "--include": "torchscript", "--device": "cpu", "--workers": "0", "--batch": "8"},
    "check": {"--device": "cpu"},
}
"""Flags with which a command is quick on a CPU; they take the place of what the page says."""

SAME = {"--imgsz": ("--img", "--img-size"), "--batch": ("--batch-size",)}
DATA = {"demo": "small.yaml", "coco": "small.yaml", "coco.yaml": "small.yaml"}
"""Data sets that are large, and what stands for them."""


def small(command: str) -> list[str]:
    """Return the words after `accel-yolo` that run a command of a page quickly on a CPU."""
    ((name, words),) = ours_in(command)
    words = [DATA.get(word, word) if words[place - 1] == "--data" else word for place, word in enumerate(words)]
    quick = {"--epochs": "2", "--device": "cpu"} if "--resume" in words else SMALL.get(name, {})
    for flag, value in quick.items():
        words = _with(words, flag, value, SAME.get(flag, ()))
    return [*name.split(), *words]


def _with(words: list[str], flag: str, value: str, others: Sequence[str]) -> list[str]:
    place = next((place for place, word in enumerate(words) if word in (flag, *others)), None)
    if place is None:
        return [*words, flag, value] if value else [*words, flag]
    if not value:
        return words
    end = place + 1
    while end < len(words) and not words[end].startswith("-"):
        end += 1
    # Where several values are given (a study of sizes), several are meant.
    values = [value] if end - place == 2 else [str(int(value) * (1 + more)) for more in range(end - place - 1)]
    return [*words[: place + 1], *values, *words[end:]]


def _written_by(command: str) -> list[str]:
    """Return the files and folders that a command makes, which must not be there yet."""
    words = shlex.split(command, comments=True)
    files = [word for word in words if word.endswith((".pt", ".safetensors"))]
    made = files[1:] if "convert" in words else []
    return [*made, *(word for before, word in zip(words, words[1:], strict=False) if before in ("--into", "--name"))]


@dataclass(frozen=True)
class Desk:
    """A folder in which commands are typed.

    Attributes:
        folder: the working folder.
        images: real images to take some from.
        weights: the published yolov5n.
        small_data: a data YAML of a few small images.
    """

    folder: Path
    images: list[Path]
    weights: Path
    small_data: Path

    def keep_release(self, cache: Path) -> None:
        """Put the weights that commands start from by default where they are once they have been fetched."""
        (cache / "weights").mkdir(parents=True)
        shutil.copy(self.weights, cache / "weights" / "yolov5s.pt")

    def lay(self, command: str) -> None:
        """Put onto the desk what a command reads and what is not there yet."""
        written = _written_by(command)
        for name, make in self._stand_ins().items():
            path = self.folder / name
            if name in written:
                continue
            is_named = re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w.-])", command)
            if is_named and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                make(path)

    def run(self, command: str) -> None:
        """Run a command in its quick form, in this process or, where it needs a shell, by bash."""
        self.lay(command)
        if way_of(command) == SHELL:
            self._in_shell(command)
        else:
            assert way_of(command) == DESK, command
            words = small(command)
            self.lay(shlex.join(words))
            self.type(*words)

    def type(self, *words: str | Path) -> None:
        """Run `accel-yolo` with these words, which must succeed."""
        cleaning = clean_process()
        next(cleaning)
        try:
            code = main([str(word) for word in words])
        finally:
            next(cleaning, None)
        assert code == 0, f"exit status {code}: {shlex.join(map(str, words))}"

    def _in_shell(self, command: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        for name, words in ours_in(command):
            assert SMALL[name], name
            quick = [each for flag, value in SMALL[name].items() if flag not in words for each in (flag, value) if each]
            command = f"{command} {shlex.join(quick)}"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _stand_ins(self) -> dict[str, Callable[[Path], object]]:
        """Return name -> what makes the file or folder of that name."""
        weights = dict.fromkeys(("yolov5n.pt", "yolov5s.pt", "best.pt", "n.pt"), self._weights)
        pictures = dict.fromkeys(("photo.jpg", "image.jpg"), self._picture)
        folders = dict.fromkeys(("images", "photos", "frames"), self._pictures)
        videos = dict.fromkeys(("clip.mp4", "street.mp4", "video.mp4"), self._video)
        data = dict.fromkeys(("small.yaml", "my.yaml", "a.yaml", "b.yaml"), self._data)
        return {
            **weights,
            **pictures,
            **folders,
            **videos,
            **data,
            "datasets": self._coco128,
            "my_images": self._own_data,
            "aerial.jpg": self._large_picture,
            "yolov5s.safetensors": self._converted,
            "n.safetensors": self._converted,
            "runs/train/exp": self._trained,
            "runs/train/exp2": self._trained,
            "yolov5n.onnx": self._exported("onnx"),
            "yolov5s.onnx": self._exported("onnx"),
            "yolov5n_openvino_model": self._exported("openvino"),
        }

    def _weights(self, path: Path) -> None:
        shutil.copy(self.weights, path)

    def _picture(self, path: Path) -> None:
        shutil.copy(self.images[0], path)

    def _large_picture(self, path: Path) -> None:
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(self.images[0])), (1400, 900)))

    def _pictures(self, path: Path) -> None:
        path.mkdir()
        for image in self.images[1:3]:
            shutil.copy(image, path)

    def _video(self, path: Path) -> None:
        write_video(path, 6)

    def _data(self, path: Path) -> None:
        shutil.copy(self.small_data, path)

    def _own_data(self, path: Path) -> None:
        make_own_data(path, self.small_data)

    def _coco128(self, path: Path) -> None:
        """Make a coco128 of sixteen images, where its YAML looks for it."""
        for kind, ending in (("images", ".jpg"), ("labels", ".txt")):
            place = path / "coco128" / kind / "train2017"
            place.mkdir(parents=True)
            for image in self.images[:16]:
                label = image.parents[1] / kind / image.with_suffix(ending).name
                if label.exists():
                    shutil.copy(label, place)

    def _converted(self, path: Path) -> None:
        self.type("convert", self.weights, path)

    def _trained(self, path: Path) -> None:
        words = small("accel-yolo train --data demo --weights yolov5n.pt")
        self.lay(shlex.join(words))
        self.type(*words, "--project", path.parent, "--name", path.name)

    def _exported(self, form: str) -> Callable[[Path], None]:
        def make(path: Path) -> None:
            weights = re.split(r"[._](?:onnx|openvino)", path.name)[0] + ".pt"
            self.lay(weights)
            self.type("export", "--weights", weights, "--include", form)
            assert path.exists()

        return make
