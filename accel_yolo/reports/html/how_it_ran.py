"""The starts of a run: what worked together, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from accel_yolo.reports.html.schemas import Session
from accel_yolo.reports.html.wording import count

Facts = list[tuple[str, str]]
_FACTS = {"memory_gib": "memory, GiB"}
_LAUNCHERS = {"own": "accel-yolo's own", "": "none"}


@dataclass(frozen=True)
class Start:
    """One start of a run as a page shows it."""

    title: str
    facts: Facts
    command: str


def starts(sessions: Sequence[Session]) -> list[Start]:
    """Return every start of a run, the first one first."""
    return [Start(_title(number, session), _facts(session), session.command) for number, session in enumerate(sessions)]


def moment(text: str) -> str:
    """Return "2026-11-30 12:00 UTC" for a time in ISO 8601; the text itself where it is none."""
    try:
        return datetime.fromisoformat(text).astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return text


def environment_facts(sessions: Sequence[Session]) -> Facts:
    """Return the environment of the last start; where an earlier one was another, its value too."""
    if not sessions:
        return []
    last = sessions[-1].environment
    rows: Facts = []
    for name, value in last.items():
        earlier = [str(session.environment[name]) for session in sessions if name in session.environment]
        others = [each for each in dict.fromkeys(earlier) if each != str(value)]
        was = f" (earlier: {', '.join(others)})" if others else ""
        rows.append((_FACTS.get(name, name), f"{value}{was}"))
    return rows


def _title(number: int, session: Session) -> str:
    return f"Start {number + 1}: {moment(session.started)}" + (f", after step {session.from_step}" if number else "")


def _facts(session: Session) -> Facts:
    of = session.topology
    processes = count(of.processes, "process", "processes")
    where = f"{processes} on {count(of.machines, 'machine')}" if of.machines > 1 else processes
    devices = of.devices_shown
    rows = [
        ("started", moment(session.started)),
        ("processes", where),
        ("launcher", _LAUNCHERS.get(of.launcher, of.launcher)),
        ("device", f"{devices} for each" if of.processes > 1 and len(set(of.devices)) == 1 else devices),
        ("threads", f"{of.threads_per_process} for each process" if of.threads_per_process else ""),
        ("precision", of.precision),
        *(("" if number else "batch", line) for number, line in enumerate(of.lines)),
    ]
    return [(name, value) for name, value in rows if value]
