"""Trainings under real launchers, with every process of theirs, wherever it ends up, found again by a mark."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAIN = str(ROOT / "train.py")
BEGUN_WITHIN_S, GONE_WITHIN_S = 120, 10
_MARK = "LAUNCHED_MARK"
_OF_LAUNCHERS = ("ACCELERATE_", "TORCHELASTIC_", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "ACCEL_YOLO_FAIL")

OURS = [TRAIN, "--processes", "2"]
LAUNCHERS = {
    "ours": OURS,
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", TRAIN],
    "accelerate": [
        "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "2cpu.yaml"), TRAIN,
    ],
    "accelerate, one process": [
        "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml"), TRAIN,
    ],
}  # fmt: skip


@dataclass
class Training:
    """A training under a launcher.

    Attributes:
        folder: where it was started; `exp` in it is the folder of the run.
        launcher: the process of the launcher.
        mark: in the environment of all its processes.
    """

    folder: Path
    launcher: subprocess.Popen[bytes]
    mark: str

    @property
    def log(self) -> str:
        """What all processes have written."""
        return (self.folder / "output.txt").read_text(errors="replace")

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / "exp"

    @property
    def errors(self) -> list[str]:
        """The error lines."""
        return [line for line in self.log.splitlines() if line.startswith("error: ")]

    @property
    def failure(self) -> dict[str, Any]:
        """What the run folder says of the failure."""
        return json.loads((self.run / "failure.json").read_text())

    @property
    def sha256(self) -> str:
        """The digest of the final state."""
        return json.loads((self.run / "metrics.json").read_text())["state_sha256"]

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the variables of every living process, data workers included."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            # Processes end while they are looked at; a dead one that nobody has buried has no variables.
            with contextlib.suppress(OSError):
                pairs = [word.partition("=") for word in (entry / "environ").read_text(errors="replace").split("\0")]
                variables = {name: value for name, _, value in pairs}
                if variables.get(_MARK) == self.mark:
                    found[int(entry.name)] = variables
        return found

    def training_process(self, rank: int) -> int:
        """Return the process of a rank; its data workers are its children."""
        ranked = {pid for pid, variables in self.processes().items() if variables.get("RANK") == str(rank)}
        (process,) = [pid for pid in ranked if _parent_of(pid) not in ranked]
        return process

    def until(self, holds: Callable[[], Any], within_s: float = BEGUN_WITHIN_S) -> Any:
        """Wait until something holds and return it."""
        end_s = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < end_s, self.log
            time.sleep(0.05)
        return found

    def until_checkpoint(self) -> None:
        """Wait until the run has a checkpoint."""
        self.until(lambda: list(self.run.glob("checkpoints/step-*")) or self.launcher.poll() is not None)
        assert self.launcher.poll() is None, self.log

    def ends(self, within_s: float = BEGUN_WITHIN_S) -> int:
        """Return the exit status of the launcher after every process has gone, all within 10 s of each other."""
        self.until(lambda: self.launcher.poll() is not None, within_s)
        self.until(lambda: not self.processes(), GONE_WITHIN_S)
        return self.launcher.returncode


def _parent_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextlib.contextmanager
def training(launcher: Sequence[str], words: Sequence[str], folder: Path, **variables: str) -> Iterator[Training]:
    """Start a training; afterwards nothing of it is left, whatever happened."""
    mark = uuid.uuid4().hex
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_LAUNCHERS)}
    kept |= {_MARK: mark, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}
    with (folder / "output.txt").open("wb") as output:
        command = [sys.executable, *launcher, *words]
        process = subprocess.Popen(command, env=kept, stdout=output, stderr=output, cwd=folder)
    started = Training(folder, process, mark)
    try:
        yield started
    finally:
        for pid in started.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
