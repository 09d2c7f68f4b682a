"""The events of a run, as its `metrics.jsonl` keeps them: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS, ENVIRONMENT = "metrics.jsonl", "environment.json"
STEP, EPOCH, END = "step", "epoch", "end"
"""The events: a reading on the log interval, a completed epoch, the end of the run."""

Event = dict[str, Any]


def read_events(path: Path) -> list[Event]:
    """Return the events of a `metrics.jsonl`, none where it is missing; a line that is not whole is left out.

    The last line of a run that was killed may be cut off.
    """
    return list(events_of(path)) if path.is_file() else []


def events_of(path: Path) -> Iterator[Event]:
    """Yield the events of a `metrics.jsonl`, one after the other: that of a long run holds millions.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if (event := _event(line)) is not None:
                yield event


def read_sessions(path: Path) -> list[dict[str, Any]]:
    """Return the starts of a run from its `environment.json`; none where it is missing or not in its form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _event(line: str) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("event") not in (STEP, EPOCH, END):
        return None
    return event if all(isinstance(event.get(key), int) for key in ("step", "epoch")) else None
