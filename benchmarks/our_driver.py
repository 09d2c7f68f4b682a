"""Times one part of accel_yolo turn by turn, as reference_driver.py does for the reference (see served_turns.py).

python our_driver.py loader --data coco128.yaml [--cache packed] [--decode-once] [--colour device]
python our_driver.py step --data coco128.yaml --size n --imgsz 320 --precision bf16
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch
from our_parts import PARTS, Ours, write_batches
from served_turns import own_stdout, say, timed


def parser() -> argparse.ArgumentParser:
    """Return the parser of a part and how to run it."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("part", choices=[*PARTS, "batches"])
    result.add_argument("--data", default="coco128")
    result.add_argument("--cache", default="")
    result.add_argument("--cache-dir", default="")
    result.add_argument("--colour", choices=["loader", "device"], default="loader")
    result.add_argument("--decode-once", action="store_true")
    result.add_argument("--apart", action="store_true", help="leave the exchange between processes out")
    for name in ("--weights", "--batches"):
        result.add_argument(name, default="")
    result.add_argument("--size", default="n")
    result.add_argument("--device", default="cpu")
    result.add_argument("--precision", default="fp32")
    for name, number in (
        ("--imgsz", 640),
        ("--batch", 16),
        ("--workers", 0),
        ("--steps", 8),
        ("--repeat", 1),
        ("--seed", 0),
    ):
        result.add_argument(name, type=int, default=number)
    result.add_argument("--step-ms-per-image", type=float, default=5.0)
    return result


def requests(ours: Ours) -> Iterator[None]:
    """Yield once for each line that the first process reads, on all processes."""
    while True:
        line = sys.stdin.readline() if ours.world.is_leader else ""
        if not ours.world.share_text(line):
            return
        yield


def main() -> None:
    """Answer requests until there are no more."""
    arguments, answers = parser().parse_args(), own_stdout()
    ours = Ours(arguments)
    cv2.setNumThreads(0)
    if ours.arguments.part == "batches":
        write_batches(ours, Path(ours.arguments.batches), ours.arguments.seed)
        return
    turn = PARTS[ours.arguments.part](ours)
    facts = {"torch": torch.__version__, "cv2": cv2.__version__, "threads": torch.get_num_threads()}
    ours.world.barrier()
    if ours.world.is_leader:
        say(answers, facts)
    for _ in requests(ours):
        taken = timed(turn, ours.wait_for_device)
        if ours.world.is_leader:
            say(answers, taken)


if __name__ == "__main__":
    main()
