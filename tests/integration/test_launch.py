"""Started by `accelerate launch` with a shipped configuration, a run is the run it is alone."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def launch(folder: Path, config: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run train.py under `accelerate launch --config_file accelerate_configs/<config>` in `folder`."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(ROOT / "accelerate_configs" / config), str(ROOT / "train.py"), *words]
    return subprocess.run(
        command, cwd=folder, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def words(sparse_data: Path) -> list[str]:
    return [
        "--data", str(sparse_data), "--weights", "", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "8",
        "--epochs", "2", "--workers", "1", "--bn-group", "4", "--noautoanchor", "--device", "cpu", "--noplots",
    ]  # fmt: skip


def results(folder: Path) -> np.ndarray:
    with (folder / "runs" / "train" / "exp" / "results.csv").open() as stream:
        return np.array([[float(value) for value in row] for row in list(csv.reader(stream))[1:]])


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path: Path, words: list[str]) -> None:
    found = []
    for config in ("cpu.yaml", "2cpu.yaml"):
        folder = tmp_path / config
        folder.mkdir()
        done = launch(folder, config, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("Results in") == 1, "one process speaks"
        found.append(results(folder))
        assert (folder / "runs" / "train" / "exp" / "log.txt").is_file()
    assert (tmp_path / "2cpu.yaml" / "runs" / "train" / "exp" / "log-1.txt").is_file()
    losses = [table[:, [1, 2, 3, 8, 9, 10]] for table in found]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_an_error_on_every_process_is_spoken_once(tmp_path: Path, words: list[str]) -> None:
    done = launch(tmp_path, "2cpu.yaml", *words, "--precision", "fp16")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines == ["error: fp16 does not work on a CPU in --precision: fp16; use --precision bf16 or fp32"]


@pytest.mark.slow
def test_a_batch_smaller_than_the_processes_is_spoken_once(tmp_path: Path, words: list[str]) -> None:
    words[words.index("--batch") + 1] = "4"  # one group of four images for two processes
    done = launch(tmp_path, "2cpu.yaml", *words)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "fewer groups of 4 images" in lines[0]
