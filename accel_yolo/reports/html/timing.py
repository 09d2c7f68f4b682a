"""Where the time of a training went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from accel_yolo.reports.html.history import History, real
from accel_yolo.reports.html.run import Run

PARTS = (
    ("compute", "training", "forward, backward, update"),
    ("wait", "waiting for data", "the network had nothing to do"),
    ("validate", "validation", "after epochs"),
    ("save", "saving", "checkpoints"),
    ("other", "start-up and the rest", "imports, data index, first step, last evaluation, pictures"),
)
"""Key, name and meaning of each part of the time."""


@dataclass(frozen=True)
class Part:
    """A part of the time."""

    key: str
    name: str
    meaning: str
    seconds: float
    share: float


@dataclass(frozen=True)
class Timing:
    """The time of all sessions of a run: the parts sum up to the total."""

    total_s: float
    parts: list[Part]


def timing_of(run: Run) -> Timing | None:
    """Return where the time went; None where the run did not record it."""
    history = run.history.content
    if history is None or not history.epochs:
        return None
    train = _sum(history, "time/train_s")
    wait = min(_sum(history, "time/data_wait_s"), train)
    spent = {
        "compute": train - wait,
        "wait": wait,
        "validate": _sum(history, "time/validate_s"),
        "save": _sum(history, "time/save_s"),
    }
    known = sum(spent.values())
    total = max(total_s(run) or 0.0, known)
    if total <= 0:
        return None
    spent["other"] = total - known
    parts = [Part(key, name, meaning, spent[key], spent[key] / total) for key, name, meaning in PARTS]
    return Timing(total, parts)


def total_s(run: Run) -> float | None:
    """Return how long all sessions of a run took together, without the time between them; None where not recorded."""
    history = run.history.content
    if history is None or not history.times:
        return None
    said = (real(history.end, "seconds") if history.end is not None else None) or 0.0
    starts = sorted(start for session in run.sessions.content or () if (start := _seconds(session.started)) is not None)
    if not starts:
        return said or None
    spans: list[float] = []
    for start, following in pairwise([*starts, float("inf")]):
        within = [time for time in history.times if start <= time < following]
        spans.append(max(within) - start if within else 0.0)
    # The last start also counts what came before it was recorded: looking through the data, building the model.
    return sum(spans[:-1]) + max(spans[-1], said)


def images_per_s(run: Run) -> float | None:
    """Return images trained on per second of training, over all epochs; None where not recorded."""
    history = run.history.content
    train = _sum(history, "time/train_s") if history is not None else 0.0
    rows = [
        (rate, seconds)
        for row in (history.epochs if history is not None else ())
        if (rate := real(row, "speed/images_per_s")) is not None and (seconds := real(row, "time/train_s")) is not None
    ]
    return sum(rate * seconds for rate, seconds in rows) / train if rows and train > 0 else None


def _sum(history: History, key: str) -> float:
    return sum(real(row, key) or 0.0 for row in history.epochs)


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
