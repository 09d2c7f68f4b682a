"""The batch file for SLURM, run by bash, with stand-ins for the three programs of the cluster that it calls."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from guide_commands import ROOT

from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.network import free_port

SBATCH = ROOT / "docs" / "slurm" / "train.sbatch"
STOPPED_WITHIN_S = 120

SRUN = """#!/bin/bash
# Two tasks on one machine; the status is that of the first that fails.
[ "$1" = --kill-on-bad-exit=1 ] && shift
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_TASKS_PER_NODE=2 SLURM_STEP_NUM_NODES=1
export SLURM_STEP_NODELIST=localhost SLURM_NODEID=0
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & second=$!
echo "$first $second" > tasks.new; mv tasks.new tasks
code=0
wait $first || code=$?
wait $second || code=$?
exit $code
"""
ACCEL_YOLO = """#!{python}
import os, sys
if sys.argv[1] == "check":  # test_guide.py runs it
    sys.exit()
sys.path[:0] = [{tests!r}]
from pathlib import Path
from guide_commands import Place, cpu_form
words = cpu_form(__import__("shlex").join(["accel-yolo", *sys.argv[1:]]), Place(Path({data!r}), "127.0.0.1", 0))
if "train" in words:
    words += ["--epochs", "6"]
os.execv(words[0], words)
"""


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run_job(folder: Path, port: int, *, stop: bool) -> int:
    """Run the file as SLURM would, and return its status; `stop` sends what comes before the time is over."""
    variables = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": str(port), "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with (folder / "job.txt").open("a") as output:
        job = subprocess.Popen(["bash", str(SBATCH)], cwd=folder, env=variables, stdout=output, stderr=output)
    try:
        checkpoints = CheckpointFolder(folder / "runs" / "train" / f"job-{port}" / "checkpoints")
        end = time.monotonic() + STOPPED_WITHIN_S
        while stop and len(checkpoints.names()) < 2:
            assert job.poll() is None and time.monotonic() < end, (folder / "job.txt").read_text()
            time.sleep(0.05)
        if stop:
            for pid in (folder / "tasks").read_text().split():
                os.kill(int(pid), signal.SIGUSR1)
        return job.wait(STOPPED_WITHIN_S)
    finally:
        job.kill()
        job.wait()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a batch file of bash")
def test_a_job_that_runs_out_of_time_saves_is_queued_again_and_goes_on(tmp_path: Path, sparse_data: Path) -> None:
    port = free_port()  # its number decides over the port
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "srun", SRUN)
    program(tmp_path / "bin", "scontrol", '#!/bin/bash\necho "$@" >> queued\n')
    text = ACCEL_YOLO.format(python=sys.executable, tests=str(ROOT / "tests"), data=str(sparse_data))
    program(tmp_path / "bin", "accel-yolo", text)
    assert run_job(tmp_path, port, stop=True) == 75, (tmp_path / "job.txt").read_text()
    assert (tmp_path / "queued").read_text() == f"requeue {port}\n"
    assert run_job(tmp_path, port, stop=False) == 0, (tmp_path / "job.txt").read_text()
    said = (tmp_path / "job.txt").read_text()
    assert "stopped by SIGUSR1" in said and "Continuing after" in said
    assert (tmp_path / "runs" / "train" / f"job-{port}" / "metrics.json").is_file()
    assert (tmp_path / "queued").read_text().count("requeue") == 1
