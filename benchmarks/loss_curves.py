"""Losses of both sides over many steps, from the same weights, on the same batches of real images."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from arms import HERE, Arm, Place, arms_in_turns, markdown
from setup_of_arms import Setup

STEPS = 200
WINDOWS = ((0, 20), (80, 100), (180, 200))
IMGSZ = 320


def curves(setup: Setup) -> str:
    """Return the mean losses in some windows of steps; the order of the batches is what the seed changes."""
    place = Place(threads=len(setup.cores))
    losses: dict[str, list[np.ndarray]] = {}
    seeds = range(max(setup.arguments.rounds, 2))
    for seed in seeds:
        file = setup.scratch / f"batches{seed}.npz"
        words = f"--imgsz {IMGSZ} --steps {STEPS} --batches {file}"
        make = f"our_driver.py batches --seed {seed} --data {setup.data} {words}".split()
        subprocess.run([sys.executable, *make], cwd=HERE, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        for arm in _arms(setup, f"curve --weights {setup.weights} {words}", place):
            turn = arms_in_turns([arm], 1, untimed=0).turns[arm.name][0]
            losses.setdefault(arm.name, []).append(np.array(turn["losses"]))
    base = next(iter(losses))
    rows = []
    for name, every in losses.items():
        cells: list[object] = [name]
        for start, stop in WINDOWS:
            means = np.array([one[start:stop].mean() for one in every])
            theirs = np.array([one[start:stop].mean() for one in losses[base]])
            cells.append(f"{means.mean():.4f} ± {means.std(ddof=1):.4f} ({(means / theirs).mean() - 1:+.2%})")
        rows.append(cells)
    columns = ["arm", *(f"steps {start + 1} to {stop}" for start, stop in WINDOWS)]
    title = f"Loss of an image over {STEPS} steps, {IMGSZ} px, mean ± sd over {len(seeds)} orders of the batches"
    return markdown(f"{title} (difference to the first)", columns, rows)


def _arms(setup: Setup, words: str, place: Place) -> list[Arm]:
    ours = [(f"ours, {kind}", f"{words} --precision {kind}") for kind in ("fp32", "bf16")]
    return setup.theirs("reference, fp32", words, place) + [setup.ours(name, flags, place) for name, flags in ours]
