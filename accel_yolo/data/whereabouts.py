"""The file that a data worker is reading, kept where its process sees it even when the worker hangs or is gone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np

from accel_yolo.data.slots import SharedBytes

_HEAD, _PATH_BYTES = 16, 4096
_ROW = _HEAD + _PATH_BYTES


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
        _Here.row = self._memory.array()[number * _ROW : (number + 1) * _ROW]
        note("")

    def of(self, number: int) -> Whereabouts:
        """Return what a worker is at; while it writes it down, that may be a name in pieces."""
        row = self._memory.array()[number * _ROW : (number + 1) * _ROW]
        since_ns, length = row[:_HEAD].view(np.int64).tolist()
        name = row[_HEAD : _HEAD + min(max(length, 0), _PATH_BYTES)].tobytes()
        # All processes of a machine have the same monotonic clock.
        return Whereabouts(os.fsdecode(name), (time.monotonic_ns() - since_ns) / 1e9 if since_ns else 0.0)


class _Here:
    row: np.ndarray | None = None
    path = ""


def here() -> str:
    """Return the file that this process, which is no worker, began with last."""
    return _Here.path


def note(path: str) -> None:
    """Note which file is opened now; "" when a worker waits for work."""
    row, _Here.path = _Here.row, path
    if row is None:
        return
    name = os.fsencode(path)[:_PATH_BYTES]
    row[:_HEAD].view(np.int64)[:] = (time.monotonic_ns(), len(name))
    row[_HEAD : _HEAD + len(name)] = np.frombuffer(name, np.uint8)
