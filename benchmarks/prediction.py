"""Prints what prediction does in a second: decoding, video and folder end to end, and the start of one image.

    python benchmarks/prediction.py --weights yolov5n.pt --images coco128/images

A video of the images is generated (and thrown away). End to end is the whole of `predict` without loading: decode,
letterbox, network, NMS, drawing, encoding. The start is `accel-yolo predict` on one image against a process that only
imports torch and loads the same weights; the issue allows half a second more. Rows go to results/prediction.md.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from accel_yolo.cli import run
from accel_yolo.inference.items import Item
from accel_yolo.inference.video import VideoWriter, read_video

FRAMES, HW, FPS, IMGSZ = 300, (480, 640), 25.0, 320
TURNS = 5
"""Everything is measured so often, and the best counts: other work on the machine only ever slows down."""
LOADING = """
import sys, torch
from accel_yolo.models.weights import detector_from_weights, find_weights, load_weights
detector_from_weights(load_weights(find_weights(sys.argv[1])))
"""


def make_video(images: Sequence[Path], path: Path) -> None:
    """Write a video of FRAMES frames that slides over the images."""
    writer = VideoWriter(path, FPS)
    for number in range(FRAMES):
        image = cv2.imdecode(np.fromfile(images[number // 10 % len(images)], np.uint8), cv2.IMREAD_COLOR)
        large = cv2.resize(image, (HW[1] + 20, HW[0] + 20))
        shift = 2 * (number % 10)
        writer.write(np.ascontiguousarray(large[shift : shift + HW[0], shift : shift + HW[1], ::-1]))
    writer.close()


def decoded_per_second(path: Path) -> float:
    """Return frames/s of the video reader alone."""
    times = []
    for _ in range(TURNS):
        started = time.perf_counter()
        assert sum(1 for _ in read_video(Item(str(path), "video", "clip"), path)) == FRAMES
        times.append(time.perf_counter() - started)
    return FRAMES / min(times)


def predicted(words: Sequence[str]) -> tuple[float, str]:
    """Return pictures/s that the best of several predictions tells at its end, and the times of its parts."""
    tries = []
    for _ in range(TURNS):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert run("predict", list(words)) == 0
        line = next(line for line in out.getvalue().splitlines() if line.startswith("speed per image: "))
        found = re.fullmatch(r"speed per image: (.*); ([\d.]+) (?:images|frames)/s together.*", line)
        assert found is not None
        tries.append((float(found[2]), found[1]))
    return max(tries)


def seconds(commands: Sequence[Sequence[str]]) -> list[float]:
    """Return the least wall time of each of several commands of this Python, run in turns, in seconds."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(TURNS):
        for words, own in zip(commands, times, strict=True):
            started = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            own.append(time.perf_counter() - started)
    return [min(own) for own in times]


def start_up(weights: str, image: Path, folder: str) -> list[str]:
    """Return the rows about the start of the command."""
    common = ["-m", "accel_yolo", "predict"]
    words = [*common, "--weights", weights, "--source", str(image), "--device", "cpu", "--project", folder]
    help_s, loading_s, whole_s = seconds([[*common, "--help"], ["-c", LOADING, weights], words])
    return [
        f"| `predict --help` | {help_s:.2f} s (allowed: 0.3) |",
        f"| import torch and load the weights | {loading_s:.2f} s |",
        f"| `predict` on one image | {whole_s:.2f} s, {whole_s - loading_s:+.2f} s (allowed: +0.5) |",
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="yolov5n.pt")
    parser.add_argument("--images", type=Path, required=True, help="a folder of images")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto")
    typed = parser.parse_args()
    images = sorted(path for path in typed.images.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        make_video(images, video)
        common = ["--weights", typed.weights, "--imgsz", str(IMGSZ), "--device", typed.device]
        common += ["--precision", typed.precision, "--project", folder]
        size = f"{HW[1]}x{HW[0]}"
        rows = [f"| decode a video of {size}, {FRAMES} frames | {decoded_per_second(video):.0f} frames/s |"]
        for batch in (1, 8):
            for name, source in (("the video", video), (f"{len(images)} images", typed.images)):
                speed, line = predicted([*common, "--source", str(source), "--batch", str(batch)])
                rows.append(f"| {name}, {IMGSZ} px, batch {batch}, end to end | {speed:.1f}/s ({line}) |")
        rows += start_up(typed.weights, images[0], folder)
    device = torch.cuda.get_device_name() if typed.device not in ("cpu", "") else f"{torch.get_num_threads()} threads"
    print(f"{datetime.date.today()}, {_processor()}, {device}, Python {platform.python_version()}, "
          f"torch {torch.__version__}, OpenCV {cv2.__version__}")  # fmt: skip
    print(f"\n    python benchmarks/prediction.py {' '.join(sys.argv[1:])}\n")
    print("| what | measured |\n|---|---|")
    print("\n".join(rows))


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
