"""The file that a data worker is reading, kept where its process sees it even when the worker hangs or is gone.

And the last one of which it found that it is not what it was.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from accel_yolo import console
from accel_yolo.data.slots import SharedBytes
from accel_yolo.errors import printable

_HEAD, _PATH_BYTES = 16, 4096
_LINE = _HEAD + _PATH_BYTES
_ROW = 2 * _LINE
"""Bytes of a worker: a line for the file that it is at, and one for that which has changed. A line is a number, the
length of a path, and the path."""


@dataclass(frozen=True)
class Whereabouts:
    """What a worker is at.

    Attributes:
        path: the file it began with last; "" before the first one and between batches.
        seconds: since when.
    """

    path: str
    seconds: float


class Desks:
    """A place for each worker of a process, in memory that they share with it.

    Args:
        count: workers.
    """

    def __init__(self, count: int) -> None:
        self._memory = SharedBytes(count * _ROW)

    def take(self, number: int) -> None:
        """Have this process be worker `number`: what it reads is noted there from now on."""
        _Here.row = self._row(number)
        _Here.changed.clear()  # a forked process has what the one before it knew
        note("")

    def of(self, number: int) -> Whereabouts:
        """Return what a worker is at; while it writes it down, that may be a name in pieces."""
        since_ns, path = _read_line(self._row(number)[:_LINE])
        # All processes of a machine have the same monotonic clock.
        return Whereabouts(path, (time.monotonic_ns() - since_ns) / 1e9 if since_ns else 0.0)

    def changes(self, number: int) -> tuple[int, str]:
        """Return how many changed files a worker has met, and the last of them; safe while it waits for work."""
        return _read_line(self._row(number)[_LINE:])

    def _row(self, number: int) -> np.ndarray:
        return self._memory.array()[number * _ROW : (number + 1) * _ROW]


class _Here:
    row: np.ndarray | None = None
    path = ""
    changed: ClassVar[set[str]] = set()


def here() -> str:
    """Return the file that this process, which is no worker, began with last."""
    return _Here.path


def note(path: str) -> None:
    """Note which file is opened now; "" when a worker waits for work."""
    row, _Here.path = _Here.row, path
    if row is not None:
        _write_line(row[:_LINE], time.monotonic_ns(), path)


def tell_change(path: str) -> None:
    """Tell that a file is not what it was when the data set was verified: each file once."""
    if path in _Here.changed:
        return
    _Here.changed.add(path)
    row = _Here.row
    if row is not None:
        _write_line(row[_LINE:], len(_Here.changed), path)
    else:
        warn_of_change(path)


def warn_of_change(path: str, more: int = 0) -> None:
    """Warn of a file that has changed, and of more that are not named."""
    others = f" and {more} more" if more else ""
    file = printable(path)
    console.warn(f"{file}{others} changed after the data set was verified: its labels may not fit", everywhere=True)


def _write_line(line: np.ndarray, number: int, path: str) -> None:
    name = os.fsencode(path)[:_PATH_BYTES]
    line[:_HEAD].view(np.int64)[:] = (number, len(name))
    line[_HEAD : _HEAD + len(name)] = np.frombuffer(name, np.uint8)


def _read_line(line: np.ndarray) -> tuple[int, str]:
    number, length = line[:_HEAD].view(np.int64).tolist()
    return number, os.fsdecode(line[_HEAD : _HEAD + min(max(length, 0), _PATH_BYTES)].tobytes())
