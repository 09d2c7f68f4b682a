"""Whatever is killed, at whatever moment: nothing is left running, the status says so, and the run can be resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from accel_yolo.engine.checkpoint import CheckpointFolder

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("killed_training.py")
STARTED_WITHIN_S, GONE_WITHIN_S = 90, 10
PHASES = ("forward", "backward", "validation", "saving")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc, and only Linux ends orphans"),
]


@dataclass
class Run:
    """A training on processes that can be found again, wherever they end up."""

    folder: Path
    launcher: subprocess.Popen[bytes]
    mark: str

    @property
    def log(self) -> str:
        """What all processes have written."""
        return (self.folder / "output.txt").read_text(errors="replace")

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the variables of every living process of the run, data workers included."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            # Processes end while they are looked at; a dead one that nobody has buried has no variables.
            with contextlib.suppress(OSError):
                pairs = [word.partition("=") for word in (entry / "environ").read_text(errors="replace").split("\0")]
                variables = {name: value for name, _, value in pairs}
                if variables.get("HELD_MARK") == self.mark:
                    found[int(entry.name)] = variables
        return found

    def await_phase(self) -> None:
        """Wait until the chosen process is where it shall be."""
        begin = time.monotonic()
        while not (self.folder / "reached").exists():
            assert self.launcher.poll() is None, self.log
            assert time.monotonic() - begin < STARTED_WITHIN_S, self.log
            time.sleep(0.05)

    def training_process(self, rank: int) -> int:
        """Return the process of a rank; its data workers are its children."""
        found = self.processes()
        ranked = {pid for pid, variables in found.items() if variables.get("RANK") == str(rank)}
        (process,) = [pid for pid in ranked if parent_of(pid) not in ranked]
        assert len(ranked) > 1, "it has data workers"
        return process

    def await_end(self) -> int:
        """Return the exit status of the launcher after every process of the run has gone, in time."""
        begin = time.monotonic()
        left = self.processes()
        while left or self.launcher.poll() is None:
            assert time.monotonic() - begin < GONE_WITHIN_S, f"left: {sorted(left)}\n{self.log}"
            time.sleep(0.05)
            left = self.processes()
        return self.launcher.returncode


def parent_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def words(data: Path, folder: Path) -> list[str]:
    return [
        "--data", str(data), "--weights", "", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "8",
        "--nominal-batch", "8", "--epochs", "3", "--workers", "1", "--bn-group", "4", "--noautoanchor", "--noplots",
        "--device", "cpu", "--project", str(folder),
    ]  # fmt: skip


LAUNCHERS = {
    "ours": [str(SCRIPT), "--processes", "2"],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)],
    "accelerate": [
        "-m", "accelerate.commands.launch", "--config_file", str(ROOT / "accelerate_configs" / "cpu.yaml"),
        str(SCRIPT),
    ],
}  # fmt: skip


@contextlib.contextmanager
def running(launcher: str, data: Path, folder: Path, phase: str, rank: int) -> Iterator[Run]:
    """Start a training whose process `rank` waits in a phase; afterwards nothing of it is left, whatever happened."""
    mark = uuid.uuid4().hex
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACCELERATE_", "RANK"))}
    variables = {
        **kept, "HELD_MARK": mark, "HELD_PHASE": phase, "HELD_RANK": str(rank), "HELD_FOLDER": str(folder),
        "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, *LAUNCHERS[launcher], *words(data, folder)]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output, cwd=folder)
    run = Run(folder, process, mark)
    try:
        yield run
    finally:
        for pid in run.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


def check_resumable(folder: Path) -> None:
    """Check that the first epoch, at least, is there to go on from."""
    newest = CheckpointFolder(folder / "exp" / "checkpoints").newest_valid()
    assert newest is not None


CASES = [
    *(("ours", phase, victim) for phase in PHASES for victim in ("0", "1", "launcher")),
    ("torchrun", "forward", "1"),
    ("torchrun", "backward", "launcher"),
    ("torchrun", "validation", "0"),
    ("torchrun", "saving", "launcher"),
]


@pytest.mark.parametrize(("launcher", "phase", "victim"), CASES, ids=map(" ".join, CASES))
def test_after_a_kill_nothing_is_left_running_and_the_run_can_be_resumed(
    launcher: str, phase: str, victim: str, sparse_data: Path, tmp_path: Path
) -> None:
    # Saving is the work of process 0; it is held there while another one is killed.
    held = 0 if victim == "launcher" or phase == "saving" else int(victim)
    with running(launcher, sparse_data, tmp_path, phase, held) as run:
        run.await_phase()
        os.kill(run.launcher.pid if victim == "launcher" else run.training_process(int(victim)), signal.SIGKILL)
        assert run.await_end() != 0
        if launcher == "ours" and victim != "launcher":
            assert "Traceback" not in run.log
            *_, last = (line for line in run.log.splitlines() if not line.startswith("  "))
            assert last == f"error: process {victim} was killed by SIGKILL (out of memory?)"
    check_resumable(tmp_path)


def test_a_killed_run_goes_on_to_its_end(sparse_data: Path, tmp_path: Path) -> None:
    with running("ours", sparse_data, tmp_path, "saving", 0) as run:
        run.await_phase()
        os.kill(run.training_process(0), signal.SIGKILL)
        run.await_end()
    command = [sys.executable, str(ROOT / "train.py"), "--resume", str(tmp_path / "exp"), "--device", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "Continuing after 4 steps, epoch 2" in done.stdout
    rows = (tmp_path / "exp" / "results.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == [0, 1, 2]
    assert (tmp_path / "exp" / "metrics.json").is_file()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_accelerate_launch_with_one_process_leaves_no_child(
    number: signal.Signals, sparse_data: Path, tmp_path: Path
) -> None:
    with running("accelerate", sparse_data, tmp_path, "forward", 0) as run:
        run.await_phase()
        assert len(run.processes()) > 2
        run.launcher.send_signal(number)
        assert run.await_end() != 0
