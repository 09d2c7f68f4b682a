"""One trial: the folder of a training, the process that trains in it, and what its table of results says."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accel_yolo import console
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.launch import findable
from accel_yolo.engine.launched import SEARCHED_BY
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.trial_lock import TrialLock
from accel_yolo.errors import Preempted
from accel_yolo.metrics.fitness import fitness_of

LOG, HYP, LOCK = "output.txt", "hyp.yaml", "trial.lock"
_METRICS = ("metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95")
GRACE_S = 20
"""How long a training may take to end before it is killed."""

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class EpochResult:
    """A validated epoch: its number from 0, precision, recall, mAP50, mAP50-95."""

    epoch: int
    metrics: tuple[float, float, float, float]

    @property
    def fitness(self) -> float:
        """The number by which trials are compared."""
        return fitness_of(self.metrics[2], self.metrics[3])


class TrialFolder:
    """The run folder of a trial."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def results(self) -> list[EpochResult]:
        """The validated epochs so far."""
        found = []
        try:
            header, *rows = (self.path / "results.csv").read_text().splitlines()
            columns = [name.strip() for name in header.split(",")]
            places = [columns.index(name) for name in _METRICS]
            for row in rows:
                cells = [float(cell) for cell in row.split(",")]
                precision, recall, map50, map50_95 = (cells[place] for place in places)
                found.append(EpochResult(int(cells[0]), (precision, recall, map50, map50_95)))
        except (OSError, ValueError, IndexError):  # not there, or not whole
            pass
        return [result for result in found if math.isfinite(result.fitness)]

    @property
    def best(self) -> EpochResult | None:
        """The best epoch, the first of equals."""
        return max(self.results, key=lambda result: result.fitness, default=None)

    def progress(self, epochs: int) -> str:
        """Return "new", "resumable", or "finished" if nothing is left to train, from the newest whole checkpoint."""
        newest = None
        if (self.path / "config.yaml").is_file():
            newest = CheckpointFolder(self.path / "checkpoints").newest_valid()
        if newest is None:
            return "new"
        state = TrainState.from_json(json.loads((newest / "state.json").read_text())["train"])
        return "finished" if state.stopped or state.epoch >= epochs else "resumable"


class TrialTraining:
    """The process that trains."""

    def __init__(self, folder: TrialFolder, words: Sequence[str], lock: TrialLock) -> None:
        self._folder = folder
        variables = {**os.environ, **findable(), SEARCHED_BY: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        with (folder.path / LOG).open("ab") as log:
            self._log_begin = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "accel_yolo", "train", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                pass_fds=(lock.descriptor,),
                start_new_session=True,  # Ctrl-C reaches the worker alone, which then ends the training
            )

    def ended(self, within_s: float) -> int | None:
        """Wait for the end and return the exit status, None if the training goes on."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """End the training and wait for that. Its newest checkpoint stays whole."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        if self.ended(GRACE_S) is None:
            console.warn(f"{self._folder.path} does not end: it is killed")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self, code: int) -> str:
        """Return in one line why the training failed: what it said itself, else what its exit status says."""
        with (self._folder.path / LOG).open("rb") as log:
            log.seek(self._log_begin)
            text = log.read().decode("utf-8", "replace")
        lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        for line in reversed(lines):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        if lines and re.match(r"[\w.]+(Error|Exception)\b", lines[-1]):  # the end of a traceback
            return lines[-1]
        return _in_words(code)


def asked_to_stop(code: int) -> int:
    """Return the signal by which, as an exit status says, somebody asked the training to stop; 0 if nobody did."""
    if code == Preempted.exit_code:
        return signal.SIGTERM
    return next((number for number in _STOPS if code in (-number, 128 + number)), 0)


def _in_words(code: int) -> str:
    """Return what an exit status without a message says."""
    if code >= 0:
        return f"exit status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"killed by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
