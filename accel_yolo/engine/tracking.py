"""What the run tells its trackers (`--report-to`): a line into a pipe, and never a moment of waiting for an answer."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.config.tracker_names import MODULES
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.world import World
from accel_yolo.errors import ConfigError
from accel_yolo.lifeline import start_program
from accel_yolo.reports.events import END, EPOCH, STEP, Event

WAITING = 2000
"""Messages that wait for a tracker at most; what comes then is not told to it."""

AFTER_A_FAULT_S = 5.0
"""How long a run that has failed waits for its trackers to note it."""

PROGRAM = "accel_yolo.engine.trackers.process:serve"
_LOOK_S = 0.2


class Link:
    """One tracker: its process, what waits for it, and what it said last."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.log = kind, folder / "trackers" / f"{kind}.log"
        self._waiting: queue.Queue[bytes] = queue.Queue(WAITING)
        self._dropped, self._sent, self._last = 0, 0, {"delivered": 0}
        self._is_ending, self._is_done, self._over = False, False, threading.Event()
        self._process = _started(kind, self.log)
        if self._process is None:
            console.warn(f"the process that tells {kind} cannot be started; training goes on")
            self._over.set()
            return
        for work in (self._write, self._listen):
            threading.Thread(target=work, args=(self._process,), daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The number of its process; None where there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def delivered(self) -> int:
        """How many messages the tracker has taken, as far as is known."""
        return self._last["delivered"]

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    def tell(self, message: dict[str, Any]) -> None:
        """Have a message delivered, unless the tracker is too far behind."""
        try:
            self._waiting.put_nowait(json.dumps(message).encode() + b"\n")
            self._sent += 1
        except queue.Full:
            self._dropped += 1

    def last_call(self) -> None:
        """Say that nothing more will come."""
        self._is_ending = True

    def end(self, until: float) -> None:
        """Wait for what is left until a moment of the monotonic clock, then end the process and say what is missing."""
        self.last_call()
        self._over.wait(max(until - time.monotonic(), 0))
        is_late = not self._over.is_set()
        if self._process is not None:
            if is_late:
                self._process.kill()
            self._process.wait()
        missing = self._sent - self.delivered + self._dropped
        if missing or not self._is_done:
            why = "was still busy" if is_late else "refused some" if self._is_done else "has ended early"
            total = self._sent + self._dropped
            console.warn(
                f"{self.kind} {why}: {missing} of {total} messages were not delivered; see {self.log}, "
                "all of them are in metrics.jsonl"
            )

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        pipe = process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended: `_listen` says so
            while (line := self._next()) is not None:
                pipe.write(line)
                pipe.flush()
        with contextlib.suppress(OSError, ValueError):
            pipe.close()

    def _next(self) -> bytes | None:
        """Return what is to be told next, None when that was all."""
        while True:
            try:
                return self._waiting.get(timeout=_LOOK_S)
            except queue.Empty:
                if self._is_ending:
                    return None

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        answers = process.stdout
        assert answers is not None
        for line in answers:
            with contextlib.suppress(ValueError, KeyError):
                self._last = json.loads(line)
                self._heard(self._last["say"], self._last["text"])
        if not (self._is_done or self._is_ending):
            console.warn(f"the process that tells {self.kind} has ended; training goes on, see {self.log}")
        self._over.set()

    def _heard(self, kind: str, text: str) -> None:
        if kind == "done":
            self._is_done = True
        elif kind == "note" and text:
            console.note(f"{self.kind}: {text}")
        elif kind == "warn":
            console.warn(f"{self.kind} does not answer as it should and is asked again; training goes on: {text}")


def _started(kind: str, log: Path) -> subprocess.Popen[bytes] | None:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            words, pipe = (kind, str(os.getpid())), subprocess.PIPE
            return start_program(PROGRAM, words, site=True, stdin=pipe, stdout=pipe, stderr=stream)
    except OSError:
        return None


class Tracking:
    """All trackers of a run; none on processes that do not speak."""

    def __init__(self, kinds: Sequence[str], subject: dict[str, Any]) -> None:
        """Take a run in: its trackers, and what they are to know of it."""
        self._kinds, self._subject = kinds, subject
        self.links: list[Link] = []
        self._place = {"epoch": 0, "step": 0}

    def begin(self) -> None:
        """Start the processes: the run has been found good, so that trackers hear of no typing errors."""
        self.links = [Link(kind, Path(self._subject["folder"])) for kind in self._kinds]
        self._tell({"do": "start", "subject": self._subject})

    def hear(self, event: Event) -> None:
        """Tell an event of the record."""
        self._place = {"epoch": event["epoch"], "step": event["step"]}
        if event["event"] == STEP:
            self._tell({"do": "step", **self._place, "values": step_values(event)})
        else:
            self._tell({"do": "epoch", **self._place, "values": epoch_values(event)})

    def show(self, pictures: Sequence[Path]) -> None:
        """Tell of pictures, which belong to the last event."""
        for path in pictures:
            self._tell({"do": "picture", **self._place, "path": str(path.absolute())})

    def keep(self, files: Sequence[Path]) -> None:
        """Have files of the run kept with it; those that are not there are left out."""
        for path in files:
            if path.is_file():
                self._tell({"do": "file", "path": str(path.absolute())})

    def end(self, timeout_s: float, *, failed: bool) -> None:
        """Wait until everything is delivered, at most so long, and say what is not."""
        self._tell({"do": "finish", "failed": failed})
        until = time.monotonic() + timeout_s
        for link in self.links:
            link.last_call()
        for link in self.links:
            link.end(until)

    def _tell(self, message: dict[str, Any]) -> None:
        for link in self.links:
            link.tell(message)


def require_trackers(config: TrainConfig, world: World) -> None:
    """Check that the trackers of a run are installed where they are told of it. Raises ConfigError."""
    for kind in config.report_to if world.is_leader else ():
        if find_spec(MODULES[kind]) is None:
            remedy = f"pip install {MODULES[kind].replace('_', '-')}, or leave it out"
            raise ConfigError("the tracker is not installed", "--report-to", kind, remedy)


@contextlib.contextmanager
def tracked(run: RunFolder, config: TrainConfig, world: World) -> Iterator[None]:
    """Have the trackers of a run told of it for the length of a context; they are ended with it."""
    tracking = Tracking(config.report_to if world.is_leader else (), _subject(run, config))
    run.record.followers.append(tracking)
    failed = True
    try:
        yield
        failed = False
    finally:
        tracking.end(AFTER_A_FAULT_S if failed else config.report_timeout, failed=failed)


def step_values(event: Event) -> dict[str, float]:
    """Return the values of a reading, named "step/..." so that they do not mix with those of epochs."""
    numbers = _numbers(event)
    return {f"step/{name.partition('/')[2] if name.startswith('train/') else name}": numbers[name] for name in numbers}


def epoch_values(event: Event) -> dict[str, float]:
    """Return the values of an epoch by the names of `results.csv`; of the end, "best/..." for its metrics."""
    numbers = _numbers(event)
    if event["event"] == EPOCH:
        return numbers
    assert event["event"] == END
    return {name.replace("metrics/", "best/"): value for name, value in numbers.items()}


def _numbers(event: Event) -> dict[str, float]:
    apart = ("time", "epoch", "step", "images", "event")
    return {name: value for name, value in event.items() if name not in apart and isinstance(value, (int, float))}


def _subject(run: RunFolder, config: TrainConfig) -> dict[str, Any]:
    project = Path(config.project).name
    return {
        "folder": str(run.path.absolute()),
        "project": "accel_yolo" if project in ("train", "") else project,
        "name": run.path.name,
        "config": flat_settings(config),
        "entity": config.entity,
        "is_resumed": run.is_resumed,
    }


def flat_settings(config: TrainConfig) -> dict[str, str | int | float | bool]:
    """Return the settings of a run as trackers take them: several values are one text, hyper-parameters "hyp/lr0"."""
    settings = {name: getattr(config, name) for name in rules_of(TrainConfig)}
    settings.update({f"hyp/{name}": value for name, value in asdict(config.hyp).items()})
    return {
        name: value if isinstance(value, (str, int, float, bool)) else " ".join(map(str, value or ()))
        for name, value in settings.items()
    }
