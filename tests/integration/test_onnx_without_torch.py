"""What `accel-yolo export` writes, where torch cannot be imported: the objects of real images are those of torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import Commands

import accel_yolo

pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
sys.modules["torch"] = sys.modules["torchvision"] = None
import accel_yolo

weights, images, options = sys.argv[1:]
model = accel_yolo.load(weights)
found = [model(json.loads(images), **one) for one in json.loads(options)]
print(json.dumps([[one.xyxy.tolist() for one in some] for some in found]))
"""
OPTIONS = (
    {}, {"imgsz": 416, "batch_size": 3}, {"conf": 0.001, "iou": 0.6, "multi_label": True, "max_det": 300},
)  # fmt: skip


def require_equal_objects(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Check that two tables [n, 6] of box, confidence and class hold the same objects; of nearly equal confidence, in
    either order."""
    assert ours.shape == theirs.shape
    left = list(range(len(ours)))
    for row in theirs:
        near = np.abs(ours[left] - row) <= (0.5, 0.5, 0.5, 0.5, 1e-3, 0)
        alike = [number for number, is_near in zip(left, near.all(1), strict=True) if is_near]
        assert alike, f"missing: {row}"
        left.remove(alike[0])


def test_an_exported_file_finds_what_torch_finds(
    commands: Commands, published_weights: Path, reference_dir: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "best.pt"
    shutil.copy(published_weights, weights)
    commands("export", "--weights", weights, "--include", "onnx", "--dynamic", "--imgsz", "320").succeeded()
    photos = [str(path) for path in sorted((reference_dir / "data" / "coco128" / "images").glob("*.jpg"))[:20]]
    words = [sys.executable, "-c", PROGRAM, str(weights.with_suffix(".onnx")), json.dumps(photos), json.dumps(OPTIONS)]
    said = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    model = accel_yolo.load(weights, device="cpu")
    for options, tables in zip(OPTIONS, said, strict=True):
        for table, theirs in zip(tables, model(photos, **options), strict=True):
            require_equal_objects(np.array(table).reshape(-1, 6), theirs.xyxy)
