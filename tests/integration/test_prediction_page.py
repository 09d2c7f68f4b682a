"""Every command of the pages that looks at cameras runs, with cameras of this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from cameras import camera
from commands import Commands
from documentation import LIVE, commands_of, ours_in, way_of

LINES = [command for command in dict.fromkeys(commands_of()) if way_of(command) == LIVE]
STREAM = "rtsp://camera.local/live"


@pytest.fixture
def place(commands: Commands) -> Iterator[Path]:
    """The working folder of the commands; the streams are cameras on this machine."""
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
def test_a_command_of_the_pages_runs(line: str, place: Path, commands: Commands, published_weights: Path) -> None:
    ((name, words),) = ours_in(line)
    words = [str(published_weights) if word.endswith(".pt") else word for word in words]
    words = [Path("stream.txt").read_text() if word == STREAM else word for word in words]
    quick = ["--imgsz", "64", "--device", "cpu", "--project", commands.project, "--stream-timeout", "0.5"]
    outcome = commands(name, *words, *quick)
    outcome.error(7, "silent since")  # the cameras are switched off after a while: their run has no other end
    folder = commands.project / "exp"
    assert f"results in {folder}" in outcome.out
    videos = list(folder.glob("[!.]*.mp4"))
    assert len(videos) == (2 if ".streams" in line else 1)
    assert all(cv2.VideoCapture(str(video)).read()[0] for video in videos)


def test_the_pages_show_a_stream_and_several() -> None:
    assert any(STREAM in line for line in LINES) and any(".streams" in line for line in LINES)
