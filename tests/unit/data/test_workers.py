"""Worker processes of the loaders."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accel_yolo.data.workers import default_workers

LOADING_FOR_EVER = """
import os, sys, time
from torch.utils.data import DataLoader, Dataset
from accel_yolo.data.workers import Workers

class Slow(Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, place):
        if place == 1:
            time.sleep(60)
        return os.getpid()

if __name__ == "__main__":
    for process in DataLoader(Slow(), **Workers(1, sys.argv[1]).options()):
        print(int(process), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_worker_ends_at_once_with_a_killed_process(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(LOADING_FOR_EVER)
    process = subprocess.Popen([sys.executable, str(program), method], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline()) != process.pid
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    # The worker has inherited the pipe: reading it to its end waits for it.
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    assert time.monotonic() - killed < 1


def test_the_number_of_workers_is_bounded_by_cores_and_images() -> None:
    assert default_workers(8, batch=16, cpus=4, processes=2) == 2
    assert default_workers(8, batch=2, cpus=64, processes=1) == 2
    assert default_workers(8, batch=1, cpus=64, processes=1) == 0
    assert default_workers(1, batch=16, cpus=4, processes=8) == 1
