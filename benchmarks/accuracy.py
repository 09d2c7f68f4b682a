"""Trains with and without an option, several seeds each, and prints what it does to the metrics.

    python benchmarks/accuracy.py --data demo --train "--epochs 30" --arm default= --arm "decode once=--decode-once"
    python benchmarks/accuracy.py --data coco128.yaml --train "--weights yolov5n.pt --img 320 --epochs 3 --noautoanchor"

Arms take turns, seed by seed. An arm is a name and the flags it adds. Differences are taken within a seed: seeds differ
more than arms do.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ARMS = ["default=", "decode once=--decode-once", "bf16=--precision bf16"]
COLUMNS = ("precision", "recall", "map50", "map50_95")


def main() -> None:
    """Train everything and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--train", default="", help="flags of all arms")
    parser.add_argument("--arm", action="append", help=f"NAME=FLAGS (default: {ARMS})")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    arms = dict(arm.split("=", 1) for arm in arguments.arm or ARMS)
    print(f"`{arguments.data}`, `{arguments.train}`, seeds {arguments.seeds}\n")
    print("| arm | seed | precision | recall | mAP50 | mAP50-95 | seconds |")
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, list[list[float]]] = {name: [] for name in arms}
    for seed in arguments.seeds:
        for name, flags in arms.items():
            rows[name].append(trained(arguments, flags, seed))
            print(f"| {name} | {seed} | " + _cells(rows[name][-1]) + " |", flush=True)
    first = np.array(rows[next(iter(arms))])
    for name, values in rows.items():
        print(f"| {name} | mean | " + _cells(np.mean(values, 0).tolist()) + " |")
    for name, values in list(rows.items())[1:]:
        difference = (np.array(values) - first)[:, 3]
        error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else float("nan")
        print(f"\n{name} less {next(iter(arms))}, mAP50-95: {difference.mean():+.4f}, standard error {error:.4f}")


def trained(arguments: argparse.Namespace, flags: str, seed: int) -> list[float]:
    """Return the four metrics of the last epoch of one training, and its seconds."""
    folder = Path(tempfile.mkdtemp())
    data = str(Path(arguments.data).resolve()) if Path(arguments.data).exists() else arguments.data
    command = [sys.executable, str(ROOT / "train.py"), "--data", data, "--seed", str(seed), "--quiet", "--noval"]
    command += [*shlex.split(arguments.train), *shlex.split(flags)]
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True)
    seconds = time.perf_counter() - started
    metrics = json.loads((folder / "runs" / "train" / "exp" / "metrics.json").read_text())
    return [*(metrics[name] for name in COLUMNS), seconds]


def _cells(values: list[float]) -> str:
    return " | ".join(f"{value:.4f}" for value in values[:-1]) + f" | {values[-1]:.0f}"


if __name__ == "__main__":
    main()
