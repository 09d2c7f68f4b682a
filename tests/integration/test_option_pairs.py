"""Every two options of training that go together start and finish an epoch: each row of option_pairs.txt is run."""

from __future__ import annotations

import shlex
from pathlib import Path

import option_pairs
import pytest
from warm_programs import run_program

ROOT = Path(__file__).resolve().parents[2]
ROWS = option_pairs.RECORD.read_text().splitlines()
TINTED = """
from torchvision.transforms.v2 import functional


def tint(image, target):
    return functional.adjust_brightness(image, 1.1), target
"""


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_the_options_of_a_row_train_an_epoch(row: str, tmp_path: Path, sparse_data: Path) -> None:
    (tmp_path / "tinted.py").write_text(TINTED)
    words = shlex.split(row)
    start = ["--data", str(sparse_data), "--cfg", "yolov5n", "--weights", "", "--epochs", "1", "--device", "cpu"]
    start += ["--project", "runs", *([] if "--imgsz" in words else ["--imgsz", "64"])]
    start += [] if "--batch" in words else ["--batch", "12"]
    start += [] if "--workers" in words else ["--workers", "0"]
    start += [] if "--bbox_interval" in words else ["--noplots"]  # half of the time would go to pictures
    changes = {"PYTHONPATH": str(ROOT), "ACCEL_YOLO_CACHE": str(tmp_path / "cache")}
    done = run_program(["train", *start, *words], tmp_path, changes)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "runs" / "exp" / "results.csv").read_text().splitlines()) == 2
    assert (tmp_path / "runs" / "exp" / "weights" / "last.safetensors").is_file()
