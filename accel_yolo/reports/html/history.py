"""What a run recorded while it went, from its `metrics.jsonl`: its epochs, its end, and when it wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accel_yolo.reports.events import END, EPOCH, Event, events_of


@dataclass(frozen=True)
class History:
    """What is read of the record.

    Attributes:
        epochs: the event of each epoch.
        end: that of the end; None while the run goes on, and when it was interrupted.
        times: when each event was written, s since 1970.
    """

    epochs: list[Event]
    end: Event | None
    times: list[float]

    def of_epoch(self, epoch: int) -> Event:
        """Return the event of an epoch, counted from 0; an empty one where there is none."""
        return next((event for event in self.epochs if event["epoch"] == epoch), {})


def read_history(path: Path) -> History:
    """Return the record of a run.

    Raises:
        ValueError: no line of it is an event.
    """
    epochs: dict[int, Event] = {}
    end: Event | None = None
    times: list[float] = []
    is_empty = True
    for event in events_of(path):
        is_empty = False
        if (time := real(event, "time")) is not None:
            times.append(time)
        if event["event"] == EPOCH:
            epochs[event["epoch"]] = event
        end = event if event["event"] == END else None
    if is_empty and path.stat().st_size:
        raise ValueError("none of its lines is an event of a run")
    return History([epochs[epoch] for epoch in sorted(epochs)], end, times)


def real(event: Mapping[str, object], key: str) -> float | None:
    """Return a finite number of an event, None where there is none."""
    value = event.get(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # pyright: ignore[reportArgumentType]
