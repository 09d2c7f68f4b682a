"""Trains with many checkpoints and prints what one costs, from stretches of one and the same run.

    python benchmarks/saving.py
    python benchmarks/saving.py --processes 2

The run saves at every second stretch of so many steps: each stretch that begins with a checkpoint lies between two that
have none, and is compared with the mean of these. Runs of a shared machine differ by more than neighbours in a run;
those differ too, so it takes many. A stretch holds what the loop waits for saving and what the writing thread takes
from it. The first epoch warms up and is left out; so is the first stretch of each epoch, which saves the one before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from accel_yolo.data.demo import SPLITS
from accel_yolo.engine.progress import LOG_EVERY

ROOT = Path(__file__).resolve().parents[1]
IMAGES = SPLITS["train"]


def main() -> None:
    """Train and print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=20, help="steps of a stretch, a multiple of 10")
    parser.add_argument("--epochs", type=int, default=9, help="of which the first is left out")
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2, 4))
    parser.add_argument("--cfg", nargs="+", default=["yolov5n.yaml", "yolov5s.yaml"])
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    # A reading ends one step after the checkpoint: what is written later is in the next one.
    is_whole = arguments.every % LOG_EVERY == 0 and arguments.every > LOG_EVERY
    if not is_whole or IMAGES // arguments.batch < 4 * arguments.every or arguments.epochs < 2:
        parser.error("give 20, 30, ..., at least four stretches to an epoch, and two epochs")
    if IMAGES % (2 * arguments.every * arguments.batch):
        parser.error(f"the {IMAGES} images of an epoch must be a whole number of pairs of stretches")
    print("| model | checkpoints | ms for one, mean | median | s for 50 steps |")
    print("|---|---|---|---|---|")
    for cfg in arguments.cfg:
        with_save, without = stretches(readings(arguments, cfg), arguments)
        ms, fifty_s = (with_save - without) * 1000, np.median(without) / arguments.every * 50
        print(f"| {cfg} | {len(ms)} | {mean_of(ms)} | {np.median(ms):.0f} | {fifty_s:.1f} |", flush=True)


def mean_of(values: np.ndarray) -> str:
    """Return a mean and its standard error."""
    return f"{values.mean():.0f} ± {values.std(ddof=1) / len(values) ** 0.5:.0f}"


def readings(arguments: argparse.Namespace, cfg: str) -> dict[tuple[int, int], float]:
    """Train and return (epoch, step in the epoch) of each reading -> seconds since the reading before."""
    config = ROOT / "accelerate_configs" / f"{arguments.processes}cpu.yaml"
    start = ["-m", "accelerate.commands.launch", "--config_file", str(config)] if arguments.processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        words = [
            sys.executable, *start, str(ROOT / "train.py"),
            "--data", "demo", "--weights", "", "--cfg", cfg, "--device", "cpu", "--workers", "0",
            "--imgsz", str(arguments.imgsz), "--batch", str(arguments.batch), "--epochs", str(arguments.epochs),
            "--save-every", f"{2 * arguments.every}steps", "--noval", "--noplots", "--noautoanchor", "--quiet",
            "--project", folder,
        ]  # fmt: skip
        subprocess.run(words, check=True, cwd=ROOT)
        events = map(json.loads, (Path(folder) / "exp" / "metrics.jsonl").read_text().splitlines())
        steps = [event for event in events if "speed/images_per_s" in event and "step" in event]
    images = LOG_EVERY * arguments.batch
    per_epoch = IMAGES // arguments.batch
    return {(e["epoch"], e["step"] - e["epoch"] * per_epoch): images / e["speed/images_per_s"] for e in steps}


def stretches(seconds: dict[tuple[int, int], float], arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of each stretch that saves, and the mean of its two neighbours, which do not."""
    every = arguments.every

    def of(epoch: int, begin: int) -> float:
        # The reading at step n + 1 is of the ten steps up to it, the one after the checkpoint of step n among them.
        return sum(seconds[epoch, begin + offset + 1] for offset in range(0, every, LOG_EVERY))

    pairs = [
        (of(epoch, begin), (of(epoch, begin - every) + of(epoch, begin + every)) / 2)
        for epoch in range(1, arguments.epochs)
        for begin in range(2 * every, IMAGES // arguments.batch - every, 2 * every)
    ]
    with_save, without = np.array(pairs).T
    return with_save, without


if __name__ == "__main__":
    main()
