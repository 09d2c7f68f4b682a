"""Runs that are stopped and taken up again: a tiny training whose whole state one digest tells."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs import tiny_config

from accel_yolo import console, waypoints
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
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
        seen: digest of its whole state, losses of every reading and table of results; {} before its end.
    """

    code: int
    line: str
    saved: tuple[str, ...]
    seen: dict[str, Any]


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
    code, line, seen = 0, "", {}
    try:
        train(config, dict.fromkeys(typed, "command line"))
    except UserError as error:
        code, line = error.exit_code, str(error)
    else:
        seen = _seen(folder)
    return Ended(code, line, tuple(CheckpointFolder(folder / "checkpoints").names()), seen)


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
    return {"digest": metrics.get("state_sha256", ""), "rows": rows, "events": events}
