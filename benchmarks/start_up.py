"""Prints what a run costs before its first batch: the index of a large data set, the import, and the models.

    python benchmarks/start_up.py [--images 100000] [--source FOLDER] [--folder FOLDER] [--rounds 5]

The data set is made of hard links (copies where links are not possible) of the images in `--source`, each with a label
file of its own; without a source, of the generated demo set. The same images are also listed in one COCO json, each
object with an outline of 20 points; the peak of memory is that of all processes together. All lies in a throw-away
folder below `--folder`, in the page cache. Processor seconds are those of all processes; the clock means little while
others run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np

from accel_yolo import console
from accel_yolo.config.dataset import DataSpec
from accel_yolo.data.demo import ensure_demo
from accel_yolo.data.formats.writing import WrittenImage, coco_content
from accel_yolo.data.index import build_index
from accel_yolo.data.label_paths import label_path_of
from accel_yolo.data.listing import list_images
from accel_yolo.data.split_index import SplitIndex

CLASSES = 80
PROGRAMS = {
    "`train.py --help`": "import sys; from accel_yolo.cli import run; sys.exit(run('train', ['--help']))",
    "import torch": "import torch",
    "import torch and what training needs": "import accel_yolo.engine.train",
}
BUILDING = """
import sys, time
import torch
from accel_yolo.models.zoo import build_detector, model_spec
start, start_cpu = time.perf_counter(), time.process_time()
build_detector(model_spec(sys.argv[1]), {0: "a"})
print(time.perf_counter() - start, time.process_time() - start_cpu)
"""


HOW = {"single_cls": False, "bad_data": "limit", "workers": os.cpu_count() or 1}
INDEXING = """
import os, sys, threading
from pathlib import Path
import psutil
from accel_yolo import console
from accel_yolo.config.dataset import DataSpec
from accel_yolo.data.index import build_index
root, me, most, over = Path(sys.argv[1]), psutil.Process(), [0], threading.Event()
def watch():
    while not over.wait(0.1):
        total = me.memory_info().rss
        for child in me.children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.Error:
                pass
        most[0] = max(most[0], total)
console.quiet()
names, images = {number: str(number) for number in range(80)}, {"train": root / "images"}
spec = DataSpec(root / "d.yaml", root, (root / "train.json",), (), (), names, format="coco", images=images)
threading.Thread(target=watch).start()
build_index(spec, "train", single_cls=False, bad_data="limit", workers=os.cpu_count() or 1)
over.set()
print(most[0] / 1e6)
"""


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--source", type=Path, help="a folder of images with labels beside it (images/ and labels/)")
    parser.add_argument("--folder", type=Path, help="where the throw-away data set is made")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    console.quiet()
    print(f"{machine()}\n\n| what | s | processor s |\n|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        root = Path(folder)
        os.environ["ACCEL_YOLO_CACHE"] = str(root / "cache")
        source = arguments.source or ensure_demo(root / "demo") / "images"
        size_bytes = make_data_set(source, root, arguments.images)
        what = f"index of {arguments.images} images of {size_bytes / arguments.images / 1e3:.0f} kB"
        spec = DataSpec(root / "d.yaml", root, (root / "images",), (root / "images",), (), named_classes())
        row(f"first {what}", [timed(lambda: index(spec))])
        row(f"kept {what}", [timed(lambda: index(spec)) for _ in range(arguments.rounds)])
        json_bytes, objects = make_coco(root, build_index(spec, "train", **HOW))
        what = f"index of the same in a COCO json of {json_bytes / 1e6:.0f} MB, {objects} objects"
        peak_mb = float(run(INDEXING, str(root)).split()[-1])
        for file in (root / "cache" / "index").iterdir():
            file.unlink()
        spec = replace(spec, format="coco", train=(root / "train.json",), images={"train": root / "images"})
        row(f"first {what} (peak {peak_mb:.0f} MB)", [timed(lambda: index(spec))])
        row(f"kept {what}", [timed(lambda: index(spec)) for _ in range(arguments.rounds)])
    for name, program in PROGRAMS.items():
        row(name, [timed(lambda program=program: run(program)) for _ in range(arguments.rounds)])
    for size in "nsmlx":
        model = f"yolov5{size}"
        row(f"build {model}", [building(model) for _ in range(arguments.rounds)])


def machine() -> str:
    """Return one line: when, on what, and what else keeps it busy."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or platform.machine()
    load = f", load before {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = f"Python {platform.python_version()}, torch {version('torch')}"
    return f"{datetime.date.today()}, {os.cpu_count()} cores of {name}, {platform.system()}{load}. {versions}."


def make_data_set(source: Path, root: Path, count: int) -> int:
    """Make `count` images with labels below `root` and return their size, bytes; their content is read once."""
    found, _ = list_images([source])
    sizes = []
    originals = []
    for number, path in enumerate(found):
        original = root / "originals" / f"{number}{Path(path).suffix}"
        original.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, original)
        sizes.append(len(original.read_bytes()))
        label = Path(label_path_of(path))
        originals.append((original, label.read_bytes() if label.is_file() else b""))
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for number in range(count):
        original, label = originals[number % len(originals)]
        image = root / "images" / f"{number:012d}{original.suffix}"
        try:
            image.hardlink_to(original)
        except OSError:
            shutil.copyfile(original, image)
        (root / "labels" / f"{number:012d}.txt").write_bytes(label)
    return sum(sizes[number % len(sizes)] for number in range(count))


def named_classes() -> dict[int, str]:
    """Return names for as many classes as the labels may hold."""
    return {number: str(number) for number in range(CLASSES)}


def index(spec: DataSpec) -> None:
    """Get the index of the training split."""
    build_index(spec, "train", **HOW)


def make_coco(root: Path, split: SplitIndex) -> tuple[int, int]:
    """Write a COCO json of a split, each object with an outline; return its size in bytes and its objects."""
    turns = np.arange(20) * np.pi / 10
    circle = np.stack((np.cos(turns), np.sin(turns)), 1)
    images = []
    for number, path in enumerate(split.paths):
        height, width = split.sizes_hw[number].tolist()
        rows = split.labels_of(number)
        outlines = [(row[1:3] + row[3:5] / 2 * circle).clip(0, 1).astype(np.float32) for row in rows]
        images.append(WrittenImage(Path(path).name, (height, width), rows, outlines))
    content = coco_content(images, named_classes())
    for annotation in content["annotations"]:
        annotation["segmentation"] = [[round(value, 2) for value in annotation["segmentation"][0]]]
    (root / "train.json").write_bytes(msgspec.json.encode(content))
    return (root / "train.json").stat().st_size, len(content["annotations"])


def building(model: str) -> tuple[float, float]:
    """Return the time of building a model in a fresh process, imports left out: of the clock, of the processor; s."""
    clock_s, processor_s = map(float, run(BUILDING, model).split())
    return clock_s, processor_s


def run(program: str, *words: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    return subprocess.run([sys.executable, "-c", program, *words], check=True, capture_output=True, text=True).stdout


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return how long `work` takes: of the clock, and of the processor in this process and those it waits for; s."""
    before, start = sum(os.times()[:4]), time.perf_counter()
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - before


def row(name: str, times: list[tuple[float, float]]) -> None:
    """Print one row: the medians."""
    clock_s, processor_s = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"| {name} | {clock_s:.2f} | {processor_s:.2f} |", flush=True)


if __name__ == "__main__":
    main()
