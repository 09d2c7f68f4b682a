"""Runs that are stopped and taken up again: a tiny training whose whole state one digest tells."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jobs import tiny_config

from accel_yolo import console, waypoints
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.loader import TrainLoader
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.checkpoint_files import STATE
from accel_yolo.engine.checkpoint_reading import verify
from accel_yolo.engine.train import train
from accel_yolo.errors import UserError
from accel_yolo.reports.events import METRICS, read_events

GRAIN = Path(__file__).parent / "reference" / "grain.yaml"
EPOCHS, STEPS = 3, 5
"""Epochs of a run, and steps of an epoch."""


@dataclass(frozen=True)
class Ended:
    """How a training ended.

    Attributes:
        code: exit status, 0 when it came to its end.
        line: the message of its error, "" without one.
        saved: names of its checkpoints.
        signalled_s, ended_s: when the first fault happened (infinite without one) and when the run had ended, as
            `time.monotonic()` tells, which is the same clock in all processes of a machine.
        seen: digests of tensors and of the whole state, losses of all readings, table of results; {} before its end.
    """

    code: int
    line: str
    saved: tuple[str, ...]
    seen: dict[str, Any]
    signalled_s: float = field(default=math.inf, compare=False)
    ended_s: float = field(default=0.0, compare=False)


def grain_config(data: Path, project: Path, **changes: Any) -> TrainConfig:
    """Return a bit-exact training of three epochs of five steps, with warm-up, mosaics, EMA and validations."""
    hyp = Hyp(mosaic=1.0, fliplr=0.5, warmup_epochs=1, lr0=0.01)
    exact = {"batch": 6, "nominal_batch": 6, "micro_batch": 2, "bn_group": 2, "bit_exact": True}
    settings = {"cfg": str(GRAIN), "epochs": EPOCHS, "hyp": hyp, "patience": 50, **exact}
    return tiny_config(data, project, **{**settings, **changes})


def trained(config: TrainConfig, fail: str = "", typed: tuple[str, ...] = ()) -> Ended:
    """Train and return how it ended.

    Args:
        config: of the run.
        fail: a fault that happens on the way, see `accel_yolo.waypoints`.
        typed: settings that count as typed.
    """
    console.quiet()
    os.environ[waypoints.FAIL] = fail
    folder = Path(config.resume) if config.resume else Path(config.project) / config.name
    code, line, seen, signalled_s = 0, "", {}, [math.inf]
    original = waypoints._happen

    def happen(fault: Any) -> None:
        signalled_s.append(time.monotonic())
        original(fault)

    waypoints._happen = happen
    try:
        train(config, dict.fromkeys(typed, "command line"))
    except UserError as error:
        code, line = error.exit_code, str(error)
    else:
        seen = _seen(folder)
    finally:
        waypoints._happen, ended_s = original, time.monotonic()
    saved = tuple(CheckpointFolder(folder / "checkpoints").names())
    return Ended(code, line, saved, seen, min(signalled_s), ended_s)


def resumed(folder: Path, **changes: Any) -> TrainConfig:
    """Return what continues the run in a folder."""
    return TrainConfig(**{"resume": str(folder), "weights": "", "cfg": "x", "device": "cpu", **changes})


def stopped_and_resumed(config: TrainConfig, fails: list[str], workers: int) -> list[tuple[Ended, Ended]]:
    """Train once for each fault, each time continue, and return how both ended."""
    found = []
    for number, fail in enumerate(fails):
        named = replace(config, name=f"run{number}")
        stopped = trained(named, fail)
        folder = Path(config.project) / named.name
        found.append((stopped, trained(resumed(folder, workers=workers), typed=("workers",))))
    return found


def _seen(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))
    measured = ("time", "seconds", "speed", "memory")
    events = [
        {key: value for key, value in event.items() if key.split("/")[0] not in measured}
        for event in read_events(folder / METRICS)
    ]
    newest = CheckpointFolder(folder / "checkpoints").newest_valid()
    assert newest is not None
    files = {name: entry["sha256"] for name, entry in verify(newest)["files"].items() if name != STATE}
    return {"tensors": files, "digest": metrics.get("state_sha256", ""), "rows": rows, "events": events}


def leftovers(folder: Path) -> list[str]:
    """Return what unfinished writing has left in a run folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if path.name.startswith((".tmp-", ".trash-"))]


def trained_and_signalled(config: TrainConfig, number: int, after_s: tuple[float, ...], fail: str) -> Ended:
    """As `trained`; when the fault has happened, this process gets a signal so many seconds later, several times."""
    original = waypoints._happen

    def happen(fault: Any) -> None:
        for delay_s in after_s:
            threading.Timer(delay_s, os.kill, (os.getpid(), number)).start()
        original(fault)

    waypoints._happen = happen
    return trained(config, fail)


def fast_config(data: Path, project: Path, **changes: Any) -> TrainConfig:
    """Return the same training in the default mode: DDP, and a BatchNorm that sees what a process has."""
    return grain_config(data, project, **{"bit_exact": False, "micro_batch": 0, "bn_group": 0, **changes})


def trained_watching_inputs(config: TrainConfig, fail: str = "") -> tuple[Ended, dict[tuple[int, int], str]]:
    """As `trained`, and return digests of what the loop of this process was given: epoch and position -> digest."""
    seen: dict[tuple[int, int], str] = {}
    original = TrainLoader.epoch

    def epoch(loader: TrainLoader, number: int, class_ap: tuple[float, ...] = (), first: int = 0) -> Any:
        for batch in original(loader, number, class_ap, first):
            for place, position in enumerate(batch.positions):
                rows = batch.targets[batch.targets[:, 0] == place, 1:]
                content = batch.images[place].numpy().tobytes() + rows.tobytes()
                seen[number, position] = hashlib.sha256(content).hexdigest()
            yield batch

    TrainLoader.epoch = epoch  # pyright: ignore
    return trained(config, fail), seen
