"""Run the commands as a user types them, and hold them to what every command owes its user."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from accel_yolo.cli import run

PROGRESS = re.compile(r"[^:]+: [\d.]+(/[\d.]+)? \w+( \(\d+%\))?, [\d.]+ (\w+/s|s each)")
"""How a line of progress begins, as it is written where there is no terminal."""

TINY = ("--imgsz", "64", "--batch", "8", "--workers", "0", "--device", "cpu", "--noplots")


@dataclass(frozen=True)
class Outcome:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines on stderr, progress and the details of an error left out."""
        lines = [line.strip() for line in self.err.splitlines() if not line.startswith("  ")]
        return [line for line in lines if line and not PROGRESS.match(line)]

    def starting(self, word: str) -> list[str]:
        """Return the lines on stderr that start with "<word>: "."""
        return [line for line in self.lines if line.startswith(f"{word}: ")]

    def error(self, code: int, *parts: str) -> str:
        """Return the one line of a user error after checking that it is one, last, and has these parts in order."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        (line,) = self.starting("error")
        assert line == self.lines[-1]
        place = 0
        for part in parts:
            assert part in line[place:], line
            place = line.index(part, place) + len(part)
        return line

    def succeeded(self) -> Outcome:
        """Return self after checking that there was no error."""
        assert self.code == 0, self.err
        assert not self.starting("error") and "Traceback" not in self.err
        return self


@dataclass
class Commands:
    """The command line in this process; what is guarded must be byte for byte the same after every command."""

    capfd: pytest.CaptureFixture[str]
    project: Path
    guarded: list[Path] = field(default_factory=list)

    def __call__(self, command: str, *words: str | Path) -> Outcome:
        """Return the outcome of a command."""
        before = [digest_of(path) for path in self.guarded]
        self.capfd.readouterr()
        code = run(command, [str(word) for word in words])
        out, err = self.capfd.readouterr()
        assert [digest_of(path) for path in self.guarded] == before, "files of the user have changed"
        return Outcome(code, out, err)

    def train(self, data: str | Path, *words: str | Path) -> Outcome:
        """Return the outcome of an epoch of yolov5n from scratch, with further flags."""
        start = ("--epochs", "1", "--cfg", "yolov5n.yaml", "--weights", "", "--data", data)
        return self("train", *TINY, "--project", self.project, *start, *words)

    def val(self, data: str | Path, weights: Path, *words: str | Path) -> Outcome:
        """Return the outcome of a validation."""
        return self("val", *TINY, "--project", self.project, "--data", data, "--weights", weights, *words)

    def detect(self, source: str | Path, weights: Path, *words: str | Path) -> Outcome:
        """Return the outcome of a prediction."""
        start = ("--imgsz", "64", "--device", "cpu", "--project", self.project)
        return self("predict", *start, "--source", source, "--weights", weights, *words)


def clean_process() -> Iterator[None]:
    """Undo after the yield what a command leaves in a process that is meant to end."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
        state.GradientState._reset_state()


def digest_of(path: Path) -> str:
    """Return a SHA-256 over a file, or over names, kinds and contents of everything in a folder."""
    digest = hashlib.sha256()
    entries = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
    for entry in entries:
        mode = entry.lstat().st_mode
        digest.update(os.fsencode(entry) + f"\0{stat.S_IFMT(mode)}\0".encode())
        if stat.S_ISREG(mode):
            digest.update(entry.read_bytes())
    return digest.hexdigest()


def make_data(root: Path, images: int = 4, *, labelled: bool = True) -> Path:
    """Write a data set of small noise images with one object each and return its data YAML."""
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    rng = np.random.default_rng(3)
    for number in range(images):
        content = cv2.imencode(".png", rng.integers(0, 255, (64, 80, 3), dtype=np.uint8))[1].tobytes()
        (root / "images" / f"{number}.png").write_bytes(content)
        if labelled:
            (root / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    return write_data_yaml(root)


def write_data_yaml(root: Path, text: str = "train: images\nval: images\nnames: [a, b, c]\n") -> Path:
    """Write the data YAML of a data set and return it."""
    path = root / "data.yaml"
    path.write_text(text)
    return path
