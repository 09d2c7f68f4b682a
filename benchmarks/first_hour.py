"""Walks docs/start.md as a new user would and prints how long each step takes: `python benchmarks/first_hour.py`.

A new virtual environment in an empty folder, a folder of images with one COCO json, and then the commands of the page
as they stand there. What they print is in walk.txt of that folder, which stays, to look at what was made.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from own_data import make_own_data  # noqa: E402

CLASSES = ("person", "car")
FRAMES, FRAME_WH, FPS = 100, (640, 480), 10


def commands_of(page: str) -> list[str]:
    """Return the commands of a page, line by line."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.strip().splitlines()]


def lay_out(folder: Path, data: Path, weights: Path) -> None:
    """Put `my_images`, `video.mp4` and the published weights, as if fetched before, into an empty folder."""
    images = sorted((make_own_data(folder / "my_images", data, classes=CLASSES) / "images").iterdir())
    writer = cv2.VideoWriter(str(folder / "video.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, FRAME_WH)
    for number in range(FRAMES):
        writer.write(cv2.resize(cv2.imread(str(images[number % len(images)])), FRAME_WH))
    writer.release()
    (folder / "cache" / "weights").mkdir(parents=True)
    shutil.copy(weights, folder / "cache" / "weights" / "yolov5n.pt")


def walk(folder: Path, commands: list[str]) -> list[tuple[str, float, float]]:
    """Return each command with the seconds and the processor seconds that it took; what it prints goes to walk.txt."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OMP_"))}
    environment |= {
        "ACCEL_YOLO_CACHE": str(folder / "cache"),
        "PATH": f"{folder / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    taken = []
    with (folder / "walk.txt").open("a") as told:
        for command in commands:
            told.write(f"$ {command}\n")
            told.flush()
            start, used = time.perf_counter(), processor_s()
            place = command.replace("'.[", f"'{ROOT}[")
            subprocess.run(place, shell=True, cwd=folder, env=environment, check=True, stdout=told, stderr=told)
            taken.append((command, time.perf_counter() - start, processor_s() - used))
            print(f"{taken[-1][1]:8.1f} s {taken[-1][2]:8.1f} s of processors  {command}", flush=True)
    return taken


def processor_s() -> float:
    """Return the processor time of all commands so far: other programs on the machine add little to it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Walk and print the table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", required=True, help="data YAML of coco128, whose images stand for a user's")
    asked.add_argument("--weights", required=True, help="the published yolov5n.pt")
    asked.add_argument("--into", help="a new folder; a temporary one when left out")
    asked.add_argument("--environment", help="a virtual environment with the package, instead of the installation")
    words = asked.parse_args()
    folder = Path(words.into or tempfile.mkdtemp(prefix="first-hour-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lay_out(folder, Path(words.data).absolute(), Path(words.weights).absolute())
    commands = commands_of((ROOT / "docs" / "start.md").read_text())
    if words.environment:
        (folder / ".venv").symlink_to(Path(words.environment).absolute())
        commands = [command for command in commands if command.startswith("accel-yolo")]
    taken = walk(folder, commands)
    print(f"\n{sum(seconds for _, seconds, _ in taken) / 60:.1f} minutes in all; {folder}\n")
    print("| command | time | processor time |\n|---|---|---|")
    for command, seconds, used in taken:
        print(f"| `{command}` | {seconds:.0f} s | {used:.0f} s |")


if __name__ == "__main__":
    main()
