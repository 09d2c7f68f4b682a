"""What a user sees of numbers that are not finite and of a small /dev/shm: whole commands, real processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import TINY, Commands


@pytest.mark.slow
def test_two_processes_whose_loss_overflows_end_with_one_line_and_status_6(
    commands: Commands, data: Path, tmp_path: Path
) -> None:
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("box: 1e30\nobj: 1e38\ncls: 1e38\nmosaic: 0.0\nwarmup_epochs: 0\n")
    words = ("--hyp", hyp, "--epochs", "30", "--processes", "2", "--noval", "--nosave")
    outcome = commands.train(data, *words)
    line = outcome.error(
        6, "the gradient was not finite in 21 updates in a row in epoch 21, step 21: all losses of process "
    )
    assert line.endswith("; lower lr0, or use --precision fp32 or bf16")
    warned = [line for line in outcome.starting("warning") if "left out" in line]
    assert len(warned) == 1 and "the gradient of step 1 was not finite, so the update was left out: " in warned[0]
    run = commands.project / "exp"
    assert json.loads((run / "failure.json").read_text())["exit_code"] == 6
    assert {path.name for path in run.glob("nonfinite-*")} == {"nonfinite-1.json", "nonfinite-21.json"}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="only root may mount a small /dev/shm")
def test_workers_train_where_dev_shm_has_64_kilobytes(commands: Commands, data: Path) -> None:
    words = [word for word in TINY if word not in ("--workers", "0")]
    train = [
        "train",
        *words,
        "--workers",
        "2",
        "--data",
        data,
        "--weights",
        "",
        "--cfg",
        "yolov5n.yaml",
        "--epochs",
        "1",
    ]
    program = [sys.executable, "-m", "accel_yolo", *train, "--project", commands.project]
    script = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, program)]
    outcome = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stderr
    assert (commands.project / "exp" / "weights" / "last.safetensors").is_file()
