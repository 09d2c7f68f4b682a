"""Arms of a comparison: processes that take turns, each in its own environment, and the tables of what they took."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent

REFERENCE_ENVIRONMENT = {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "WANDB_MODE": "disabled",
    "COMET_MODE": "disabled",
}
"""What keeps the reference from asking the network or installing packages while it is timed."""


@dataclass(frozen=True)
class Place:
    """Where an arm works.

    Attributes:
        cores: the cores that it may use; () for any.
        threads: of its computing libraries; 0 leaves the choice to them.
    """

    cores: tuple[int, ...] = ()
    threads: int = 0

    def environment(self) -> dict[str, str]:
        """Return the variables of a process that works here."""
        threads = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        return {**os.environ, **(threads if self.threads else {})}

    def enter(self) -> None:
        """Keep this process, and those that it starts, on the cores (where the system has that)."""
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, self.cores)


class Arm:
    """A driver that works turn by turn.

    Args:
        name: what its row of the table is called.
        words: the command, Python included.
        place: where it works.
        settings: variables beyond those of this process.
        processes: how many of it work together; the first is talked to.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        place: Place,
        settings: Mapping[str, str] | None = None,
        processes: int = 1,
    ) -> None:
        self.name, self.words = name, list(words)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the arm
        environment = {**place.environment(), **(settings or {})}
        started = []
        for rank, world in enumerate(_world(processes)):
            pipe = subprocess.DEVNULL if rank else subprocess.PIPE
            started.append(subprocess.Popen(
                self.words, stdin=pipe, stdout=pipe, stderr=self._log, text=True, env={**environment, **world},
                preexec_fn=place.enter,
            ))  # fmt: skip
        self._process, self._others = started[0], started[1:]
        self.facts = self._answer()

    def turn(self) -> dict[str, Any]:
        """Let it work once and return what that took."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for process in (self._process, *self._others):
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            for process in (self._process, *self._others):
                process.kill()
            self._log.seek(0)
            sys.exit(f"error: {self.name} ended: {' '.join(self.words)}\n{self._log.read()[-3000:]}")
        return json.loads(line)


def _world(processes: int) -> list[dict[str, str]]:
    """Return the variables that tell each of some processes who it is."""
    if processes == 1:
        return [{}]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    common = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "MASTER_PORT": port}
    common["MASTER_ADDR"] = "127.0.0.1"
    return [{**common, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


@dataclass
class Rounds:
    """What arms took, by name: one entry for each round."""

    turns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def values(self, name: str, of: Callable[[dict[str, Any]], float]) -> np.ndarray:
        """Return a number of every round of an arm."""
        return np.array([of(turn) for turn in self.turns[name]])

    def median(self, name: str, of: Callable[[dict[str, Any]], float]) -> float:
        """Return its median."""
        return float(np.median(self.values(name, of)))

    def ratio(self, name: str, base: str, of: Callable[[dict[str, Any]], float]) -> float:
        """Return the median over rounds of an arm's number divided by that of `base` in the same round."""
        return float(np.median(self.values(name, of) / self.values(base, of)))


def in_turns(work: Mapping[str, Callable[[], dict[str, Any]]], rounds: int, untimed: int = 1) -> Rounds:
    """Return what every arm took in each round; the order is reversed from round to round."""
    names, result = list(work), Rounds({name: [] for name in work})
    for number in range(rounds + untimed):
        for name in names if number % 2 else names[::-1]:
            taken = work[name]()
            if number >= untimed:
                result.turns[name].append(taken)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return result


def arms_in_turns(arms: Sequence[Arm], rounds: int, untimed: int = 1) -> Rounds:
    """Return the same of drivers, which are ended."""
    try:
        return in_turns({arm.name: arm.turn for arm in arms}, rounds, untimed)
    finally:
        for arm in arms:
            arm.end()


def timed_command(words: Sequence[str], folder: Path, place: Place, settings: Mapping[str, str]) -> dict[str, Any]:
    """Run a command to its end; return its seconds on the clock, those of processor time, and what it printed."""
    started, used_s = time.perf_counter(), _children_s()
    done = subprocess.run(
        list(words), cwd=folder, env={**place.environment(), **settings}, preexec_fn=place.enter,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"error: exit status {done.returncode}: {' '.join(words)}\n{done.stdout[-3000:]}")
    return {"seconds": seconds, "cpu_seconds": _children_s() - used_s, "out": done.stdout}


def _children_s() -> float:
    """Return the processor time of all processes that were started here and have ended, theirs included."""
    times = os.times()
    return times.children_user + times.children_system


def markdown(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table under a heading; numbers with three digits or as they are."""
    lines = [columns, ["---"] * len(columns), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"
