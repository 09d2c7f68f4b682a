"""The folder of a run: what is in it, and the one table a user watches."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo import console
from accel_yolo.config.resolve import save_config
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.world import World
from accel_yolo.files import next_run_folder, write_text_atomic

COLUMNS = (
    "epoch",
    "train/box_loss",
    "train/obj_loss",
    "train/cls_loss",
    "metrics/precision",
    "metrics/recall",
    "metrics/mAP_0.5",
    "metrics/mAP_0.5:0.95",
    "val/box_loss",
    "val/obj_loss",
    "val/cls_loss",
    "x/lr0",
    "x/lr1",
    "x/lr2",
)
"""Columns of `results.csv`, those of the reference."""


@dataclass(frozen=True)
class EpochRow:
    """One line of the results.

    Attributes:
        epoch: counted from 0.
        train: mean (box, objectness, class) training losses.
        metrics: (precision, recall, mAP50, mAP50-95), None when the epoch was not validated.
        val: (box, objectness, class) validation losses, None likewise.
        lr: learning rates of (biases, decayed weights, norm weights) at the last step.
        seconds: duration of the epoch's training part.
        data_wait: share of that time spent waiting for data, 0..1.
    """

    epoch: int
    train: tuple[float, ...]
    metrics: tuple[float, ...] | None
    val: tuple[float, ...] | None
    lr: tuple[float, float, float]
    seconds: float
    data_wait: float


class RunFolder:
    """Writes on the leader, answers on all processes."""

    def __init__(self, path: Path, world: World, is_resumed: bool = False) -> None:
        self.path, self._world, self.is_resumed = path, world, is_resumed
        self.weights = path / "weights"
        self.checkpoints = CheckpointFolder(path / "checkpoints")

    @classmethod
    def open(cls, config: TrainConfig, origins: dict[str, str], world: World, resumed: Path | None) -> RunFolder:
        """Return the folder of a run: a new one, or the one that is continued."""
        if resumed is not None:
            run = cls(resumed, world, is_resumed=True)
            if world.is_leader:
                save_config(run.path / "config.yaml", config, origins)
            return run._opened()
        chosen = str(next_run_folder(Path(config.project), config.name, config.exist_ok)) if world.is_leader else ""
        run = cls(Path(world.gather_text(chosen)[0]), world)
        if world.is_leader:
            (run.path / "weights").mkdir(parents=True, exist_ok=True)
            save_config(run.path / "config.yaml", config, origins)
            (run.path / "results.csv").unlink(missing_ok=True)
        return run._opened()

    def _opened(self) -> RunFolder:
        """Start this process's log file and return self."""
        self._world.barrier()
        console.log_to(self.path / ("log.txt" if self._world.is_leader else f"log-{self._world.rank}.txt"))
        console.log(f"command: {' '.join(sys.argv)}")
        return self

    def add_epoch(self, row: EpochRow, epochs: int) -> None:
        """Append an epoch to `results.csv` and print its line of the table."""
        if not self._world.is_leader:
            return
        path = self.path / "results.csv"
        metrics, val = row.metrics or (float("nan"),) * 4, row.val or (float("nan"),) * 3
        values = (row.epoch, *row.train, *metrics, *val, *row.lr)
        lines = _kept_lines(path, row.epoch)
        lines.append(",".join(f"{value:20.5g}" for value in values))
        write_text_atomic(path, "\n".join(lines) + "\n")
        self._print_epoch(row, epochs)

    def _print_epoch(self, row: EpochRow, epochs: int) -> None:
        titles = ("epoch", "box", "obj", "cls", "P", "R", "mAP50", "mAP50-95", "time", "data wait")
        widths = (9, 8, 8, 8, 7, 7, 7, 9, 7, 10)
        metrics = [f"{value:.3f}" for value in row.metrics] if row.metrics else ["-"] * 4
        cells = [f"{row.epoch + 1}/{epochs}", *(f"{loss:.4f}" for loss in row.train), *metrics]
        cells += [f"{row.seconds:.0f} s", f"{row.data_wait:.0%}"]
        if row.epoch % 10 == 0:
            console.say(console.painted("".join(t.rjust(w) for t, w in zip(titles, widths, strict=True)), "bold"))
        line = "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        console.say(line)

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write plain data as JSON, on the leader."""
        if self._world.is_leader:
            write_text_atomic(self.path / name, json.dumps(data, indent=1) + "\n")


def _kept_lines(path: Path, epoch: int) -> list[str]:
    """Return header and rows before `epoch`: a resumed run writes its epochs anew."""
    if not path.exists():
        return [",".join(name.rjust(20) for name in COLUMNS)]
    header, *rows = path.read_text().splitlines()
    return [header, *(row for row in rows if int(float(row.split(",")[0])) < epoch)]
