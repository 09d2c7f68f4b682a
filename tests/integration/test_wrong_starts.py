"""Ways of starting that cannot work: one line each, before anything is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Commands

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "accelerate_configs"
MULTI_CPU = "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 2\nuse_cpu: true\n"

ALONE = {
    "--config_file nowhere.yaml": "no such accelerate config file in --config-file: nowhere.yaml; looked for",
    "--config_file 2gpus": "no such accelerate config file in --config-file: 2gpus; did you mean '2gpu'?",
    "--config_file 2gpu": "accelerate_configs/2gpu.yaml asks for GPUs and this machine has none; use 2cpu.yaml or",
    "--config_file 1gpu": "accelerate_configs/1gpu.yaml asks for GPUs and this machine has none; use cpu.yaml or",
    "--device 0,1": "no such CUDA device in --device: 0,1; CUDA_VISIBLE_DEVICES= leaves 0",
    "--device 7": "no such CUDA device in --device: 7; CUDA_VISIBLE_DEVICES= leaves 0",
    "--processes 2 --device cuda": "--processes asks for GPUs and this machine has none",
    "--config_file 2x1cpu --machine_rank 2": "no such machine in --machine-rank: 2; the 2 machines are numbered 0 to 1",
    "--config_file fp16 --device cpu": "fp16 does not work on a CPU in",
    "--processes 2 --device 0,1,2": "two answers to how many processes in --processes and --device 0,1,2: 2 and 3",
    "--config_file mine.yaml": "mine.yaml:2, key 'distributed_type': MULTI_CPU; use accelerate_configs/2cpu.yaml",
    "--machines 2": "no address for 2 machines in --main-process-ip",
}


@pytest.mark.parametrize("words", ALONE)
def test_our_launcher_says_it_in_one_line(
    commands: Commands, data: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    Path("mine.yaml").write_text(MULTI_CPU)
    start = ("--imgsz", "64", "--batch", "8", "--workers", "0", "--cfg", "yolov5n.yaml", "--weights", "")
    outcome = commands("train", *start, "--project", commands.project, "--data", data, *words.split())
    outcome.error(2, ALONE[words])
    assert outcome.lines == outcome.starting("error")
    assert not commands.project.exists()


TORCHRUN = "torch.distributed.run --nproc_per_node 2"
UNDER_A_LAUNCHER = [
    (TORCHRUN, "--device 0,1,2", "--device names 3 devices but torchrun started 2 processes on this machine"),
    (TORCHRUN, "--processes 3", "two launchers at once in --processes: 3; torchrun says 2"),
    ("accelerate.commands.launch --config_file {configs}/2cpu.yaml", "--config_file 4cpu", "two launchers at once in"),
    ("accelerate.commands.launch --config_file mine.yaml", "", "MULTI_CPU; use accelerate_configs/2cpu.yaml"),
]
SLOWLY = [
    (
        "accelerate.commands.launch --config_file {configs}/2gpu.yaml",
        "",
        "2gpu.yaml asks for GPUs and this machine",
    ),
    ("accelerate.commands.launch --config_file {configs}/fp16.yaml", "--device cpu", "fp16 does not work on a CPU in"),
]


@pytest.mark.parametrize(
    ("launcher", "words", "says"),
    [*UNDER_A_LAUNCHER, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOWLY)],
)
def test_under_another_launcher_it_is_said_once(
    commands: Commands, data: Path, launcher: str, words: str, says: str
) -> None:
    Path("mine.yaml").write_text(MULTI_CPU)
    command = [sys.executable, "-m", *launcher.format(configs=CONFIGS).split(), str(ROOT / "train.py")]
    command += ["--data", str(data), "--weights", "", "--cfg", "yolov5n.yaml", *words.split()]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and says in errors[0], done.stderr
    assert not Path("runs").exists()


SLOW_FIRST = """
import os, sys, time
time.sleep(1.5 if os.environ["LOCAL_RANK"] == "0" else 0)
from accel_yolo.cli import run
sys.exit(run("train", ["--epochs", "0"]))
"""


def test_it_is_said_even_if_the_process_that_speaks_is_the_slowest(tmp_path: Path) -> None:
    script = tmp_path / "slow_first.py"
    script.write_text(SLOW_FIRST)
    command = [sys.executable, "-m", *TORCHRUN.split(), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: wrong value in --epochs: 0; give a whole number of at least 1"]
