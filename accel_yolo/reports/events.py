"""The events of a run, as its `metrics.jsonl` keeps them: one JSON object a line."""

from __future__ import annotations

import json
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
    if not path.is_file():
        return []
    events = (_event(line) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [event for event in events if event is not None]


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
