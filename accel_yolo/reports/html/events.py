"""`metrics.jsonl`: what a run recorded while it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.reports.html.reading import json_lines


@dataclass(frozen=True)
class Events:
    """What is read of the record.

    Attributes:
        epochs: the line of each epoch.
        end: the line of the end; None while the run goes on, and when it was interrupted.
        times: when each line was written, s since 1970.
        last: the newest line.
    """

    epochs: list[Mapping[str, Any]]
    end: Mapping[str, Any] | None
    times: list[float]
    last: Mapping[str, Any]

    def of_epoch(self, epoch: int) -> Mapping[str, Any]:
        """Return the line of an epoch, counted from 0; an empty one where there is none."""
        return next((row for row in self.epochs if row.get("epoch") == epoch), {})


def read_events(path: Path) -> Events:
    """Return the record of a run.

    Raises:
        ValueError: no line of it is JSON.
    """
    epochs: dict[int, Mapping[str, Any]] = {}
    end, last, times = None, {}, []
    for entry in json_lines(path):
        kind, time, epoch = entry.get("event"), entry.get("time"), entry.get("epoch")
        if isinstance(time, (int, float)):
            times.append(float(time))
        if kind == "epoch" and isinstance(epoch, int):
            epochs[epoch] = entry
        end = entry if kind == "end" else None
        last = entry
    if not last:
        raise ValueError("none of its lines is JSON")
    return Events([epochs[epoch] for epoch in sorted(epochs)], end, times, last)


def real(row: Mapping[str, Any], key: str) -> float | None:
    """Return a number of a line, None where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
