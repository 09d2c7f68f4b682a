"""However a run is started, it is the same run: one digest for every way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import free_port

ROOT = Path(__file__).resolve().parents[2]
PYTHON, TRAIN = sys.executable, str(ROOT / "train.py")
ACCELERATE = [PYTHON, "-m", "accelerate.commands.launch"]
TORCHRUN = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2"]
TWO_CPUS = ["--config_file", str(ROOT / "accelerate_configs" / "2cpu.yaml")]

# What `accelerate config` writes for "multi-GPU" and two processes, told to use the CPU.
WIZARD = """\
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: MULTI_GPU
downcast_bf16: 'no'
enable_cpu_affinity: false
gpu_ids: all
machine_rank: 0
main_training_function: main
mixed_precision: 'no'
num_machines: 1
num_processes: 2
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
tpu_use_sudo: false
use_cpu: true
"""

LAUNCHED = {
    "accelerate launch, script": [*ACCELERATE, *TWO_CPUS, TRAIN],
    "accelerate launch, module": [*ACCELERATE, *TWO_CPUS, "-m", "accel_yolo", "train"],
    "accelerate launch, file of the wizard": [*ACCELERATE, "--config_file", "wizard.yaml", TRAIN],
    "accelerate launch, one process": [*ACCELERATE, "--config_file", "cpu.yaml", TRAIN],
    "torchrun": [*TORCHRUN, TRAIN],
    "torchrun with the old flag": [*TORCHRUN, TRAIN, "--local_rank", "0"],
    "python -m torch.distributed.run": [PYTHON, "-m", "torch.distributed.run", *TORCHRUN[1:], TRAIN],
    "our launcher, --processes": [PYTHON, TRAIN, "--processes", "2"],
    "our launcher, --nproc_per_node": [PYTHON, "-m", "accel_yolo", "train", "--nproc_per_node", "2"],
    "our launcher, a shipped file": [PYTHON, TRAIN, "--config_file", "2cpu.yaml"],
    "our launcher, file of the wizard": [PYTHON, TRAIN, "--config-file", "wizard.yaml"],
}
BY_VARIABLES: dict[str, Callable[[int, int], dict[str, str]]] = {
    "SLURM": lambda rank, port: {
        "SLURM_JOB_ID": str(port), "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "localhost", "MASTER_PORT": str(port),
    },
    "Kubernetes": lambda rank, port: {
        "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port),
    },
    "Open MPI": lambda rank, port: {
        "OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": str(rank),
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    },
}  # fmt: skip
LAUNCHERS_VARIABLES = ("ACCELERATE_", "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run starts; the files of Accelerate are there too."""
    (tmp_path / "wizard.yaml").write_text(WIZARD)
    (tmp_path / "cpu.yaml").write_text((ROOT / "accelerate_configs" / "cpu.yaml").read_text())
    return tmp_path


@pytest.fixture
def words(sparse_data: Path) -> list[str]:
    """Three updates of twelve images, bit-exact."""
    return [
        "--data", str(sparse_data), "--weights", "", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "12",
        "--nominal-batch", "12", "--epochs", "1", "--workers", "1", "--noautoanchor", "--device", "cpu",
        "--bit-exact", "--micro-batch", "2", "--noval",
    ]  # fmt: skip


def started(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command as from a user's shell that knows nothing of launchers."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS_VARIABLES)}
    environment = {**environment, "OMP_NUM_THREADS": "1", **(variables or {})}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(processes: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    """Return stdout and stderr of processes that all must succeed; none is left behind."""
    try:
        outputs = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, stderr) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, stderr
    return outputs


def digest_in(folder: Path) -> str:
    """Return the digest of the one run in a folder."""
    (metrics,) = folder.glob("runs/train/*/metrics.json")
    return json.loads(metrics.read_text())["state_sha256"]


@pytest.fixture(scope="session")
def alone(sparse_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], str]:
    """Return a function to the digest of `python train.py` in one process, run once."""
    done: list[str] = []

    def digest(words: list[str]) -> str:
        if not done:
            folder = tmp_path_factory.mktemp("alone")
            finished([started([PYTHON, TRAIN, *words], folder)])
            done.append(digest_in(folder))
        return done[0]

    return digest


@pytest.mark.slow
@pytest.mark.parametrize("way", LAUNCHED)
def test_a_launcher_starts_the_run_that_one_process_is(
    way: str, folder: Path, words: list[str], alone: Callable[[list[str]], str]
) -> None:
    ((stdout, _),) = finished([started([*LAUNCHED[way], *words], folder)])
    assert stdout.count("Results in") == 1, "one process speaks"
    assert ("2 processes" in stdout) == ("one process" not in way)
    assert digest_in(folder) == alone(words)


@pytest.mark.slow
@pytest.mark.parametrize("way", BY_VARIABLES)
def test_processes_that_a_scheduler_starts_find_each_other(
    way: str, folder: Path, words: list[str], alone: Callable[[list[str]], str]
) -> None:
    port = free_port()
    pair = [started([PYTHON, TRAIN, *words], folder, BY_VARIABLES[way](rank, port)) for rank in (0, 1)]
    outputs = finished(pair)
    assert [stdout.count("Results in") for stdout, _ in outputs] == [1, 0], "the first process speaks"
    assert "2 processes" in outputs[0][0]
    assert digest_in(folder) == alone(words)
