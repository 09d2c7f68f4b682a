"""Trains in turns with and without checkpoints every so many steps, and prints what saving costs.

    python benchmarks/saving.py --every 50 --rounds 5
    python benchmarks/saving.py --train "--data demo --cfg yolov5s.yaml --weights '' --imgsz 320 --batch 4 --epochs 6"

Both arms save after each epoch; one of them in between as well. Compared are the seconds of the steps, which hold what
the loop waits for saving and what the writing thread takes from it. The first epoch of a run is left out: it warms up.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TRAIN = (
    "--data demo --cfg yolov5n.yaml --weights '' --imgsz 160 --batch 2 --epochs 4 --device cpu --workers 0 "
    "--noval --noplots"
)


def main() -> None:
    """Train everything and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=TRAIN, help="flags of both arms")
    parser.add_argument("--every", type=int, default=50, help="steps between two checkpoints")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    arms = {"not saving": "1000h", f"every {arguments.every} steps": f"{arguments.every}steps"}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(arguments.rounds):
        for name in list(arms)[:: 1 if turn % 2 == 0 else -1]:  # nobody is always the first
            seconds[name].append(trained(arguments.train, arms[name]))
            print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    print(f"`{arguments.train}`, {arguments.rounds} rounds\n")
    print("| arm | seconds of the steps, median | least |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {np.median(values):.2f} | {min(values):.2f} |")
    base, saving = (np.array(values) for values in seconds.values())
    costs = (saving / base - 1) * 100
    error = costs.std(ddof=1) / len(costs) ** 0.5 if len(costs) > 1 else float("nan")
    mean = f"mean {costs.mean():+.2f}, standard error {error:.2f}"
    print(f"\nSaving costs {np.median(costs):+.2f} % (median over rounds; {mean}).")


def trained(flags: str, every: str) -> float:
    """Return the seconds of the steps of one training, all epochs but the first."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "train.py"), *shlex.split(flags), "--save-every", every, "--quiet"]
        subprocess.run([*command, "--project", folder], check=True, cwd=ROOT)
        lines = (Path(folder) / "exp" / "metrics.jsonl").read_text().splitlines()
    epochs = [event for event in map(json.loads, lines) if event["event"] == "epoch"]
    return sum(event["time/train_s"] for event in epochs[1:])


if __name__ == "__main__":
    main()
