"""Prints whether a long training stays as large as it began: memory, open files, threads and processes.

    python benchmarks/steady.py --steps 2000 --workers 4

A training of the generated images at a small size, with validations and a checkpoint every 50 steps, is watched from
outside. Memory is what its processes have for themselves (PSS), data workers included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

EVERY_S = 0.5
ROOT = Path(__file__).resolve().parents[1]


def sizes(process: psutil.Process) -> tuple[float, int, int, int]:
    """Return MiB, open files, threads and processes of a process and all that it has started."""
    mib, files, threads, count = 0.0, 0, 0, 0
    for each in (process, *process.children(recursive=True)):
        try:
            mib += each.memory_full_info().pss / 2**20
            files += each.num_fds()
            threads += each.num_threads()
            count += 1
        except psutil.Error:  # it ends while it is looked at
            continue
    return mib, files, threads, count


def last_step(run: Path) -> int:
    """Return the newest step of the record of a run."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines()
        return max((json.loads(line).get("step", 0) for line in lines[-3:]), default=0)
    except (OSError, ValueError):
        return 0


def main() -> None:
    """Train, watch and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = watched(Path(folder), arguments.steps, arguments.workers)
    table = np.array(rows)
    steps = table[:, 0]
    begun = table[steps > arguments.steps * 0.1]  # caches are full, and torch has chosen its kernels
    quarters = [part for part in np.array_split(begun, 4) if len(part)]
    print("| steps | memory, MiB | open files | threads | processes |\n|---|---|---|---|---|")
    for part in quarters:
        mib, files, threads, count = np.median(part[:, 1:], 0)
        print(f"| {part[0, 0]:.0f} to {part[-1, 0]:.0f} | {mib:.1f} | {files:.0f} | {threads:.0f} | {count:.0f} |")
    slope = np.polyfit(begun[:, 0], begun[:, 1], 1)[0]
    print(f"\nMemory changed by {slope * 1000:+.2f} MiB in 1000 steps.")


def watched(folder: Path, steps: int, workers: int) -> list[tuple[float, ...]]:
    """Return (step, MiB, open files, threads, processes) every half second of a training."""
    words = [
        sys.executable, str(ROOT / "train.py"), "--data", "demo", "--weights", "", "--cfg", "yolov5n.yaml",
        "--imgsz", "64", "--batch", "8", "--nominal-batch", "8", "--epochs", "1000", "--workers", str(workers),
        "--noplots", "--noautoanchor", "--patience", "0", "--save-every", "50steps", "--device", "cpu",
        "--project", str(folder), "--name", "run", "--quiet",
    ]  # fmt: skip
    training = subprocess.Popen(words, cwd=folder)
    process, rows, step = psutil.Process(training.pid), [], 0
    try:
        while training.poll() is None and step < steps:
            time.sleep(EVERY_S)
            step = last_step(folder / "run")
            if step:
                rows.append((step, *sizes(process)))
    finally:
        training.terminate()
        training.wait()
    return rows


if __name__ == "__main__":
    main()
