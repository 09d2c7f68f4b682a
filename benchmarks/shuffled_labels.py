"""Trains the demo recipe on shuffled classes and prints the mAP50 on the true validation split: it must stay low.

    python benchmarks/shuffled_labels.py [--epochs 36]

Every box of the training split keeps its place and gets the class of another box. What is left to learn is where
things are, not what they are; a data set on which that scores well would be no test of learning.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from accel_yolo.config.dataset import load_data_spec
from accel_yolo.data.demo import ensure_demo

ROOT = Path(__file__).resolve().parents[1]


def shuffled_copy(folder: Path) -> Path:
    """Return the data YAML of a copy of the demo set whose training classes are permuted over all boxes."""
    spec = load_data_spec("demo")
    root = folder / "shuffled"
    shutil.copytree(ensure_demo(spec.root), root)
    files = sorted((root / "labels" / "train").glob("*.txt"))
    lines = [file.read_text().splitlines() for file in files]
    classes = np.random.default_rng(0).permutation([line.split()[0] for rows in lines for line in rows]).tolist()
    for file, rows in zip(files, lines, strict=True):
        file.write_text("".join(f"{classes.pop()} {row.split(maxsplit=1)[1]}\n" for row in rows))
    data = folder / "shuffled.yaml"
    data.write_text(
        yaml.safe_dump({"path": str(root), "train": "images/train", "val": "images/val", "names": spec.names})
    )
    return data


def main() -> None:
    """Train and print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=36)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    config = ROOT / "accelerate_configs" / "2cpu.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), str(ROOT / "train.py")]
    command += ["--data", str(shuffled_copy(folder)), "--hyp", "demo", "--epochs", str(arguments.epochs)]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "ACCEL_YOLO_CACHE": str(folder / "cache")})
    metrics = json.loads((folder / "runs" / "train" / "exp" / "metrics.json").read_text())
    print(
        f"demo, shuffled classes, {arguments.epochs} epochs: mAP50 {metrics['map50']:.3f} on the true validation split"
    )


if __name__ == "__main__":
    main()
