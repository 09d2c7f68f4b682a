"""Compares accel_yolo with a checkout of the reference detector, part by part, in turns, and prints Markdown tables.

    python benchmarks/side_by_side.py --data coco128.yaml --weights yolov5n.pt \\
        --reference CHECKOUT --reference-python PYTHON [--parts loader,step] [--rounds 5] [--into FILE]

The reference is run from outside, in an environment of its own that has its requirements; nothing of it is imported
here. Without --reference, only our arms are measured. Arms work in turns whose order alternates; a number is the
median over rounds, and a ratio the median of the ratios within a round. Parts:

    loader      batches of the mosaic recipe at 640 px on one core, labels and collation included
    step        a training step, one thread; on a GPU --sizes and --batch say which
    validation  the validation command, start to end, and its metrics
    epoch       the training command for one epoch and for two: the difference is an epoch without the start
    processes   two processes of one thread against one process of two threads, same total batch
    waiting     the share of waiting for data when a step takes 5 ms an image
    memory      what the cache takes in each further process
    curves      losses over 200 steps from the same weights on the same batches
    loop        training with workers and real steps, images/s (meant for a GPU)
    trace       one step of ours under the profiler: the largest costs, kernel launches, waits for the device

The data must be one folder of images for each split. The reference sees it through links, so that the file which it
writes beside the labels does not stay.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from pathlib import Path

from setup_of_arms import Setup
from side_parts import PARTS

QUICK = ("loader", "step", "waiting")
WITH_REFERENCE = ("memory", "processes")
WITH_WEIGHTS = ("validation", "epoch")


def arguments_of() -> argparse.Namespace:
    """Return what was typed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, help="checkout of the reference")
    parser.add_argument("--reference-python", default=sys.executable, help="Python that has its requirements")
    parser.add_argument("--data", required=True, help="data YAML, or the name of a shipped one")
    parser.add_argument("--weights", default="", help="yolov5n.pt, for validation, epoch and curves")
    parser.add_argument("--parts", default="", help=f"of {', '.join(PARTS)}; default: the quick ones")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--sizes", default="n", help="of n, s, m, l, x")
    parser.add_argument("--images", default="320,640", help="image sizes of `step`, px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--into", type=Path, help="also write the tables here")
    arguments = parser.parse_args()
    chosen = [*QUICK, *(WITH_REFERENCE if arguments.reference else ())]
    chosen += WITH_WEIGHTS if arguments.reference and arguments.weights else ()
    arguments.parts = arguments.parts.split(",") if arguments.parts else chosen
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown --parts {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if missing := {*WITH_WEIGHTS, "curves"} & set(arguments.parts) if not arguments.weights else set():
        parser.error(f"--parts {', '.join(sorted(missing))} needs --weights")
    if arguments.reference and not arguments.reference.is_dir():
        parser.error(f"--reference {arguments.reference} is no folder")
    return arguments


def machine(setup: Setup) -> str:
    """Return what was measured on, one paragraph."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = named[0] if named else name
    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    load = f"; load before: {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    versions = "; ".join(f"{who}: {text}" for who, text in setup.versions().items())
    return (
        f"{datetime.date.today()}, {len(setup.cores)} cores of {name}{memory}, {platform.system()}{load}. {versions}."
    )


def main() -> None:
    """Measure the parts that were asked for."""
    arguments = arguments_of()
    setup = Setup.of(arguments)
    words = " ".join([Path(sys.executable).name, "benchmarks/side_by_side.py", *_shown(sys.argv[1:])])
    texts = ["# Side by side\n", f"{machine(setup)}\n", f"```\n{words}\n```\n"]
    print("\n".join(texts), flush=True)
    for name in arguments.parts:
        texts.append(PARTS[name](setup))
        print(f"\n{texts[-1]}", flush=True)
    if arguments.into:
        arguments.into.write_text("\n".join(texts))


def _shown(words: list[str]) -> list[str]:
    """Return the command without the folders of this machine."""
    return [Path(word).name if "/" in word and not word.startswith("-") else word for word in words]


if __name__ == "__main__":
    main()
