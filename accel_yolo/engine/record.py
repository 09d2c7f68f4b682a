"""What a run writes down for programs to read: `metrics.jsonl`, an event a line, and `environment.json`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from accel_yolo import console
from accel_yolo.files import write_text_atomic
from accel_yolo.reports.events import ENVIRONMENT, EPOCH, METRICS, STEP, Event, read_events, read_sessions

DIGITS = 6
"""Significant digits of what is written."""


class Follower(Protocol):
    """Somebody who is told what a run writes down."""

    def begin(self) -> None:
        """The run begins: data and model are known to be good."""

    def hear(self, event: Event) -> None:
        """Take an event after it was written."""

    def show(self, pictures: Sequence[Path]) -> None:
        """Take pictures that were drawn anew."""

    def keep(self, files: Sequence[Path]) -> None:
        """Take files that are to stay with the run."""


class Record:
    """The events of a run, appended to `metrics.jsonl` as they happen.

    Attributes:
        followers: told of each event, and of pictures and files.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._warned = folder / METRICS, False
        self.followers: list[Follower] = []

    def begin(self, step: int, epoch: int) -> None:
        """Keep what an earlier start of this run wrote, up to where it goes on.

        Args:
            step: steps that are done; 0 keeps nothing.
            epoch: the epoch that is to be trained or validated next.

        Raises:
            EnvironmentFault: the file cannot be written.
        """
        events = read_events(self._path) if step else []
        steps = [event for event in events if event["event"] == STEP and event["step"] <= step]
        epochs = [event for event in events if event["event"] == EPOCH and event["epoch"] < epoch]
        kept = sorted([*steps, *epochs], key=lambda event: event["step"])  # stable: an epoch after its steps
        write_text_atomic(self._path, "".join(map(_line, kept)))

    def add(self, event: str, values: Mapping[str, Any]) -> None:
        """Append an event with the time; numbers that are not finite are written as null.

        A record that cannot be written is no reason to stop: it is missed with one warning.
        """
        entry: Event = {"event": event, "time": round(time.time(), 3)}
        entry.update({name: _plain(value) for name, value in values.items()})
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(_line(entry))
        except OSError as error:
            self._warn(error)
        for follower in self.followers:
            follower.hear(entry)

    def announce(self) -> None:
        """Say that the run begins."""
        for follower in self.followers:
            follower.begin()

    def show(self, pictures: Sequence[Path]) -> None:
        """Say that pictures were drawn anew; they belong to the last event."""
        for follower in self.followers:
            follower.show(pictures)

    def keep(self, files: Sequence[Path]) -> None:
        """Say which files of the run are to stay with it."""
        for follower in self.followers:
            follower.keep(files)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            console.warn(f"cannot record into {self._path}: {error.strerror}; training goes on")
        self._warned = True


def add_session(folder: Path, session: Mapping[str, Any]) -> None:
    """Append a start of the run to `environment.json`, after those that are there where it is resumed.

    Args:
        folder: the run folder.
        session: what started, see `engine.sessions`; its "from_step" is 0 for a new run.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    path = folder / ENVIRONMENT
    earlier = read_sessions(path) if session["from_step"] else []
    write_text_atomic(path, json.dumps({"sessions": [*earlier, session]}, indent=1) + "\n")


def _line(event: Event) -> str:
    return json.dumps(event) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
