"""What a soak plays on: a small data set, a disk of its own for the run, a clock that can jump, one machine or two."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from namespaces import Machine, Weather
from sparse_images import write_sparse_data

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 8
"""What `--collective-timeout` is: a message between processes that takes longer is lost."""

DISK_MIB = 32
EPOCHS = 200
RECIPE = (
    "--weights", "", "--cfg", str(ROOT / "tests" / "reference" / "grain.yaml"), "--imgsz", "64", "--batch", "8",
    "--nominal-batch", "8",
    "--micro-batch", "2", "--bn-group", "2", "--bit-exact", "--epochs", str(EPOCHS), "--noautoanchor", "--noplots",
    "--save-every", "7steps", "--device", "cpu",
)  # fmt: skip
_MARK = "SOAK_MARK"


@dataclass(frozen=True)
class Shape:
    """The topology of a start: machines, processes on each, data workers of each process."""

    machines: int
    processes: int
    workers: int

    def __str__(self) -> str:
        return f"{self.machines} x {self.processes} processes, {self.workers} workers"


@dataclass
class Start:
    """A run that was started: a launcher on each machine, and whatever came of it."""

    launchers: list[subprocess.Popen[str]]
    logs: list[Path]
    mark: str

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the variables of every living process of this start."""
        return marked(self.mark)

    def codes(self) -> list[int | None]:
        """Return the exit status of each launcher, None while it runs."""
        return [launcher.poll() for launcher in self.launchers]

    def said(self) -> str:
        """Return what all launchers and processes have written."""
        return "\n".join(path.read_text(errors="replace") for path in self.logs)


def marked(mark: str) -> dict[int, dict[str, str]]:
    """Return the living processes that inherited a mark, with their variables."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ends while it is looked at
            pairs = (word.partition("=") for word in (entry / "environ").read_text(errors="replace").split("\0"))
            variables = {name: value for name, _, value in pairs}
            if variables.get(_MARK) == mark:
                found[int(entry.name)] = variables
    return found


@dataclass
class Stage:
    """Where the runs of a soak happen.

    Attributes:
        folder: everything is below it.
        machines: the two machines; () where they cannot be made.
        weather: what the cable between them does to what it carries.
    """

    folder: Path
    machines: tuple[Machine, ...] = ()
    weather: Weather | None = None
    data: Path = field(init=False)
    runs: Path = field(init=False)
    clock: Path = field(init=False)

    def __post_init__(self) -> None:
        self.data = write_sparse_data(self.folder / "data")
        self.runs, self.clock = self.folder / "runs", self.folder / "clock"
        self.runs.mkdir()
        self.clock.write_text("0")

    @contextlib.contextmanager
    def small_disk(self) -> Iterator[None]:
        """Give the runs a disk that can be full or read-only without harm to anybody else."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "soak", str(self.runs)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(self.runs)], check=False)

    def start(self, name: str, shape: Shape, extra: tuple[str, ...] = ()) -> Start:
        """Start the run `name`, or go on with it where it has checkpoints."""
        mark = uuid.uuid4().hex
        logs = [self.folder / f"{name}-{mark[:6]}-{number}.log" for number in range(shape.machines)]
        launchers = []
        for number, log in enumerate(logs):
            words = [sys.executable, str(ROOT / "train.py"), *self._words(name, shape), *extra]
            words += ["--processes", str(shape.processes)]
            if shape.machines > 1:
                address = self.machines[0].address
                words += ["--machines", str(shape.machines), "--machine-rank", str(number)]
                words += ["--main-process-ip", address, "--main-process-port", "29500"]
            with log.open("w") as output:
                options: dict[str, Any] = {"stdout": output, "stderr": output}
                if shape.machines > 1:
                    launchers.append(self.machines[number].start(words, self._environment(mark), **options))
                else:
                    launchers.append(
                        subprocess.Popen(words, env=self._environment(mark), cwd=self.folder, text=True, **options)
                    )
        return Start(launchers, logs, mark)

    def _words(self, name: str, shape: Shape) -> list[str]:
        common = ["--workers", str(shape.workers), "--collective-timeout", str(TIMEOUT_S), "--connect-timeout", "60"]
        if any((self.runs / name / "checkpoints").glob("step-*")):
            return ["--resume", str(self.runs / name), "--device", "cpu", *common]
        return ["--data", str(self.data), "--project", str(self.runs), "--name", name, "--exist-ok", *RECIPE, *common]

    def _environment(self, mark: str) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "ACCEL_YOLO_FAIL"))
        }
        path = os.pathsep.join((str(ROOT / "tests" / "soak" / "clock"), str(ROOT)))
        return kept | {
            _MARK: mark, "SOAK_CLOCK": str(self.clock), "PYTHONPATH": path, "OMP_NUM_THREADS": "1",
            "ACCEL_YOLO_CACHE": str(self.folder / "cache"),
        }  # fmt: skip

    def jump(self, seconds: float) -> None:
        """Set how far the wall clock of all processes is off."""
        self.clock.write_text(str(seconds))


def end_all(pids: dict[int, dict[str, str]]) -> None:
    """Kill processes that nobody else would end."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
