"""Commands started as from the shell of a user, several at a time, and the files of the `accelerate config` wizard."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 300
LAUNCHERS_VARIABLES = ("ACCELERATE_", "SLURM_", "OMPI_", "PMI_", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_")


def run_together(folder: Path, *commands: tuple[list[str], dict[str, str]]) -> list[str]:
    """Run commands at the same time and return what each prints; all must succeed, and none is left behind.

    Args:
        folder: where they are typed.
        commands: words and further variables of each; of launchers, the shell knows nothing.
    """
    base = {key: value for key, value in os.environ.items() if not key.startswith(LAUNCHERS_VARIABLES)}
    base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
    base.update(OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    started = [
        subprocess.Popen(
            words, cwd=folder, env={**base, **more}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for words, more in commands
    ]
    try:
        outputs = [process.communicate(timeout=LIMIT_S) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, stderr) in zip(started, outputs, strict=True):
        assert process.returncode == 0, stderr
    return [stdout for stdout, _ in outputs]


def wizard_file(*, gpu_ids: str, mixed_precision: str, use_cpu: str) -> str:
    """Return what `accelerate config` writes for the answer "multi-GPU" with two processes on one machine."""
    return f"""\
compute_environment: LOCAL_MACHINE
debug: false
distributed_type: MULTI_GPU
downcast_bf16: 'no'
enable_cpu_affinity: false
gpu_ids: {gpu_ids}
machine_rank: 0
main_training_function: main
mixed_precision: {mixed_precision}
num_machines: 1
num_processes: 2
rdzv_backend: static
same_network: true
tpu_env: []
tpu_use_cluster: false
tpu_use_sudo: false
use_cpu: {use_cpu}
"""
