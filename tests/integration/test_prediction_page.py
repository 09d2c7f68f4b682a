"""Every command of the page about prediction runs, and what it names is there."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from cameras import camera
from commands import Commands
from videos import write_video

from accel_yolo.config.flags import COMMANDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "prediction.md"
LINES = [line for line in PAGE.read_text().splitlines() if re.match(r"(\w+ .*\| )?accel-yolo predict ", line)]
STREAM = "rtsp://camera.local/live"


@pytest.fixture
def place(commands: Commands, reference_dir: Path, published_weights: Path) -> Iterator[Path]:
    """The working folder of the commands, with what the page names; the stream is a camera on this machine."""
    images = reference_dir / "data" / "coco128" / "images"
    Path("photos").mkdir()
    for number, name in enumerate(("photo.jpg", "photos/a.jpg", "photos/b.jpg")):
        shutil.copy(sorted(images.iterdir())[number], name)
    write_video(Path("clip.mp4"), 6)
    with camera() as served, camera() as other:
        Path("cameras.streams").write_text(f"{served.url}\n{other.url}\n")
        Path("stream.txt").write_text(served.url)
        done = threading.Event()

        def switch_off() -> None:
            while served.shown < 30 and not done.wait(0.05):
                pass
            if not done.wait(3):  # the other is opened meanwhile
                served.stop()
                other.stop()

        threading.Thread(target=switch_off, daemon=True).start()
        yield Path.cwd()
        done.set()


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page_runs(
    line: str, place: Path, commands: Commands, published_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _, command = line.rpartition("accel-yolo predict ")
    if before.startswith("ls"):
        names = "\n".join(map(str, sorted(place.glob(before.split()[1])))).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    elif before.startswith("cat"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(before.split()[1]).read_bytes())))
    words = shlex.split(command.replace("yolov5s.pt", str(published_weights)))
    words = [Path("stream.txt").read_text() if word == STREAM else word for word in words]
    live = STREAM in line or ".streams" in line
    more = ["--stream-timeout", "0.5"] if live else []
    outcome = commands("predict", *words, "--imgsz", "64", "--device", "cpu", "--project", commands.project, *more)
    if live:  # the cameras are switched off after a while: their run has no other end
        outcome.error(7, "silent since")
    else:
        outcome.succeeded()
    folder = commands.project / "exp"
    assert f"results in {folder}" in outcome.out
    videos = list(folder.glob("[!.]*.mp4"))
    assert len(videos) == (2 if ".streams" in line else 1 if live or "clip" in line else 0)
    assert all(cv2.VideoCapture(str(video)).read()[0] for video in videos)


def test_the_page_has_commands_and_every_flag_it_names_exists() -> None:
    assert len(LINES) >= 7
    known = {spelling for flag in COMMANDS["predict"].flags for spelling in flag.spellings}
    text = re.sub(r"^    python .*$", "", PAGE.read_text(), flags=re.MULTILINE)
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    assert named and named <= known, named - known
