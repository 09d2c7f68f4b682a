"""Fine-tunes published weights as recorded for the reference and prints the last epoch of every seed.

    python benchmarks/fine_tuning.py --weights yolov5n.pt --data coco128.yaml [--epochs 3] [--seeds 0 1 2]

The recipe: 320 px, batch 16, the default hyper-parameters, no anchor fit, CPU. Two pairs of metrics: as our evaluation
gives them, and under the input shapes that the reference's training validates with (tests/reference_evaluation.py);
the reference's recorded numbers compare with the second pair.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from reference_evaluation import reference_map  # noqa: E402 - the folder is on the path only now

from accel_yolo import console  # noqa: E402


def main() -> None:
    """Train every seed and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    console.quiet()
    print("| seed | box | obj | cls | mAP50 | mAP50-95 | mAP50, reference's shapes | mAP50-95, reference's shapes |")
    print("|---|---|---|---|---|---|---|---|")
    rows = [one_seed(arguments, seed) for seed in arguments.seeds]
    for name, values in (("mean", np.mean(rows, axis=0)), ("sd", np.std(rows, axis=0, ddof=min(1, len(rows) - 1)))):
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |")


def one_seed(arguments: argparse.Namespace, seed: int) -> list[float]:
    """Return the mean losses over epochs and the metrics of the last epoch of one training; print its row."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, str(ROOT / "train.py"), "--img", "320", "--batch", "16", "--workers", "2"]
    command += ["--epochs", str(arguments.epochs), "--device", "cpu", "--noautoanchor", "--quiet", "--seed", str(seed)]
    command += ["--weights", str(arguments.weights.resolve()), "--data", str(arguments.data.resolve())]
    subprocess.run(command, cwd=folder, check=True)
    run = folder / "runs" / "train" / "exp"
    with (run / "results.csv").open() as stream:
        table = np.array([[float(value) for value in row] for row in list(csv.reader(stream))[1:]])
    reference = reference_map(run / "weights" / "last.safetensors", arguments.data, 320)
    values = [*table[:, 1:4].mean(0), *table[-1, 6:8], *reference]
    print(f"| {seed} | " + " | ".join(f"{value:.4f}" for value in values) + " |", flush=True)
    return values


if __name__ == "__main__":
    main()
