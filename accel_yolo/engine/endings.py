"""How a start of a run ended, as our launcher sees it: the cause, not its consequences."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from accel_yolo.engine.failures import (
    BEAT,
    DONE,
    ORDERLY,
    PLACE,
    Failure,
    failure_from,
    read_failures,
    signal_name,
)
from accel_yolo.engine.launched import Launched
from accel_yolo.engine.signals import ASKING
from accel_yolo.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    NonFiniteError,
    PeerError,
)
from accel_yolo.waypoints import START, kept_place

FINISHED, LOST, SILENT, TOLD, STOPPED = range(5)
"""Kinds of endings: all is done; another process or machine was lost; killed, or gone without a word; an error that was
told; stopped by a signal. Of several, the highest is the cause of the others."""

NOT_MENDED = (
    *(kind.exit_code for kind in (ConfigError, DataError, CheckpointError, NonFiniteError)),
    *ORDERLY,
    *(128 + number for number in ASKING),
)
"""Exit status of what would end the next start in the same way, or was wished: once, or twice."""


@dataclass(frozen=True)
class Ending:
    """How the processes of a start ended.

    Attributes:
        kind: see above.
        code: exit status of the launcher.
        failure: who, where and why; None when all is done.
    """

    kind: int = FINISHED
    code: int = 0
    failure: Failure | None = None

    @property
    def message(self) -> str:
        """The cause in one line; "" when all is done."""
        return self.failure.message if self.failure is not None else ""

    @property
    def can_be_mended(self) -> bool:
        """Whether another start may end better."""
        return self.kind in (LOST, SILENT, TOLD) and self.code not in NOT_MENDED

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"kind": self.kind, "code": self.code, "failure": asdict(self.failure) if self.failure else None}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Ending:
        """Return an ending that another machine told."""
        failure = content["failure"]
        return cls(content["kind"], content["code"], failure_from(failure) if failure else None)


def gravest(endings: list[Ending]) -> Ending:
    """Return the cause among what several machines tell: the first of the highest kind, of errors the first in time."""

    def first(ending: Ending) -> tuple[int, float]:
        return -ending.kind, ending.failure.time if ending.failure is not None else 0.0

    return min(endings, key=first)


def ending_of(folder: Path, exit_codes: Mapping[int, int], size: int, machine: int = 0) -> Ending:
    """Return how the processes of a machine ended.

    A process that failed by itself comes before one that was killed, and that before those that only lost a peer.

    Args:
        folder: where the processes left their records.
        exit_codes: process -> exit status, in order of time, of those that ended by themselves; negative for a signal.
        size: processes of the run.
        machine: the number of this machine.
    """
    failures = read_failures(folder)
    told = [failure for failure in failures if not failure.already_reported]
    for failure in told:
        if failure.exit_code != PeerError.exit_code:
            kind = STOPPED if failure.exit_code in ORDERLY else TOLD
            return Ending(kind, failure.exit_code, _spoken(failure))
    here = Launched(size=size, machine=machine)
    silent = {rank: code for rank, code in exit_codes.items() if not any(known.told_by == rank for known in failures)}
    for rank, code in sorted(silent.items(), key=lambda item: item[1] < 0):  # stable: the launcher's order of time
        if code in ORDERLY:
            return Ending(STOPPED, code, failure_of_launcher("interrupted" if code == 130 else "stopped", code))
        if code != -signal.SIGTERM and (code != 0 or not (folder / f"{rank}{DONE}").exists()):
            failure = _silent(folder, replace(here, rank=rank), code)
            return Ending(SILENT, failure.exit_code, failure)
    for failure in (*told, *failures):
        return Ending(LOST, failure.exit_code, _spoken(failure))
    for rank, code in silent.items():
        if code != 0:
            failure = _silent(folder, replace(here, rank=rank), code)
            return Ending(SILENT, failure.exit_code, failure)
    return Ending()


def has_left_early(folder: Path, exit_codes: Mapping[int, int]) -> bool:
    """Return whether a process has ended with exit status 0 before its work was done."""
    return any(code == 0 and not (folder / f"{rank}{DONE}").exists() for rank, code in exit_codes.items())


def lost(message: str) -> Ending:
    """Return the ending of a run that lost another machine."""
    return Ending(LOST, PeerError.exit_code, failure_of_launcher(message, PeerError.exit_code))


def failure_of_launcher(message: str, code: int) -> Failure:
    """Return a failure that a launcher tells, of no process of the run."""
    return Failure(code, message, -1, socket.gethostname(), time.time())


def _spoken(failure: Failure) -> Failure:
    if not failure.is_crash:
        return failure
    return replace(failure, message=f"process {failure.rank} failed: {failure.message}; its traceback is above")


def _silent(folder: Path, who: Launched, code: int) -> Failure:
    """Return what can be told of a process that ended without a word."""
    name, step = kept_place(folder / f"{who.rank}{PLACE}")
    beat: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        beat = json.loads((folder / f"{who.rank}{BEAT}").read_text(encoding="utf-8"))
    remedy = ""
    if code < 0:
        killed = code == -signal.SIGKILL
        message = f"process {who.rank} was killed by {signal_name(code)}" + (" (out of memory?)" if killed else "")
        remedy = (
            "if the kernel log says out of memory: fewer --workers, a smaller --batch, or --cache" if killed else ""
        )
    elif code == 0:
        message = f"process {who.rank} left with exit code 0 before the run was done"
    else:
        message = f"process {who.rank} ended with exit code {code}"
    return Failure(
        exit_code=code if code > 0 else PeerError.exit_code,
        message=message,
        rank=who.rank,
        host=socket.gethostname(),
        time=time.time(),
        size=who.size,
        machine=who.machine,
        pid=beat.get("pid", 0),
        step=step,
        phase=name,
        files=tuple(beat.get("files", ())),
        remedy=remedy,
        has_begun=name not in ("", START),
    )
