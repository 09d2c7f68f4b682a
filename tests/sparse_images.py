"""A tiny data set of hardly any objects: some shares of a batch are empty."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_sparse_data(root: Path) -> Path:
    """Write 26 training and 9 validation images of 48 to 96 px below `root` and return their data YAML.

    Three of four images have no objects; every second object has an outline.
    """
    rng = np.random.default_rng(5)
    for split, count in (("train", 26), ("val", 9)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for number in range(count):
            height, width = (int(side) for side in rng.integers(48, 97, 2))
            image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            rows = []
            if number % 4 == 0:
                for _ in range(int(rng.integers(1, 6))):
                    box_w, box_h = rng.uniform(0.15, 0.6, 2)
                    cx, cy = rng.uniform(box_w / 2, 1 - box_w / 2), rng.uniform(box_h / 2, 1 - box_h / 2)
                    rows.append(_label(int(rng.integers(3)), (cx, cy, box_w, box_h), outline=len(rows) % 2 == 1))
                    top, left = int((cy - box_h / 2) * height), int((cx - box_w / 2) * width)
                    image[top : top + int(box_h * height), left : left + int(box_w * width)] = 200
            cv2.imwrite(str(root / "images" / split / f"{number:03d}.png"), image)
            (root / "labels" / split / f"{number:03d}.txt").write_text("\n".join(rows))
    data = root / "data.yaml"
    data.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [a, b, c]\n")
    return data


def _label(kind: int, box: tuple[float, float, float, float], *, outline: bool) -> str:
    """Return a label line: a box, or the same object as an outline of eight points."""
    cx, cy, width, height = box
    if not outline:
        return f"{kind} {cx:.6f} {cy:.6f} {width:.6f} {height:.6f}"
    turns = np.arange(8) * np.pi / 4
    points = np.stack((cx + width / 2 * np.cos(turns), cy + height / 2 * np.sin(turns)), axis=1)
    return f"{kind} " + " ".join(f"{value:.6f}" for value in points.clip(0, 1).ravel())
