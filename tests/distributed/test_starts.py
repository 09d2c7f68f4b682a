"""However a run is started, it is the same run: one digest for every way."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from starting import run_together, wizard_file

from accel_yolo.engine.network import free_port

ROOT = Path(__file__).resolve().parents[2]
PYTHON, TRAIN = sys.executable, str(ROOT / "train.py")
ACCELERATE = [PYTHON, "-m", "accelerate.commands.launch"]
TORCHRUN = [str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2"]
TWO_CPUS = ["--config_file", str(ROOT / "accelerate_configs" / "2cpu.yaml")]

WIZARD = wizard_file(gpu_ids="all", mixed_precision="'no'", use_cpu="true")

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
        "--bit-exact", "--micro-batch", "2", "--noval", "--noplots",
    ]  # fmt: skip


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
            run_together(folder, ([PYTHON, TRAIN, *words], {}))
            done.append(digest_in(folder))
        return done[0]

    return digest


@pytest.mark.slow
@pytest.mark.parametrize("way", LAUNCHED)
def test_a_launcher_starts_the_run_that_one_process_is(
    way: str, folder: Path, words: list[str], alone: Callable[[list[str]], str]
) -> None:
    (stdout,) = run_together(folder, ([*LAUNCHED[way], *words], {}))
    assert stdout.count("Results in") == 1, "one process speaks"
    assert ("2 processes" in stdout) == ("one process" not in way)
    assert digest_in(folder) == alone(words)


@pytest.mark.slow
@pytest.mark.parametrize("way", BY_VARIABLES)
def test_processes_that_a_scheduler_starts_find_each_other(
    way: str, folder: Path, words: list[str], alone: Callable[[list[str]], str]
) -> None:
    port = free_port()
    pair = [([PYTHON, TRAIN, *words], BY_VARIABLES[way](rank, port)) for rank in (0, 1)]
    outputs = run_together(folder, *pair)
    assert [stdout.count("Results in") for stdout in outputs] == [1, 0], "the first process speaks"
    assert "2 processes" in outputs[0]
    assert digest_in(folder) == alone(words)
