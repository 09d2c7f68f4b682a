"""Memory for batches that a process shares with its workers: allocated once, written in place, never copied between."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np


class SharedBytes:
    """Anonymous memory that travels to worker processes however they are started, and goes when the last one ends.

    On Linux it is a memory file without a name: not bounded by the size of /dev/shm, which containers keep small, and
    nothing is left behind by a process that is killed. `count` is its size.
    """

    def __init__(self, count: int) -> None:
        """Allocate `count` bytes; pages take memory when they are first written."""
        self.count = max(count, 1)
        self._file = -1
        if sys.platform == "linux":
            self._file = os.memfd_create("accel_yolo batches")
            os.ftruncate(self._file, self.count)
            self._memory: Any = mmap.mmap(self._file, self.count)
        else:
            self._memory = multiprocessing.RawArray("B", self.count)

    def __getstate__(self) -> dict[str, Any]:
        handle: Any = DupFd(self._file) if self._file >= 0 else self._memory
        return {"count": self.count, "handle": handle}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count, handle = state["count"], state["handle"]
        self._file = -1
        self._memory = handle
        if hasattr(handle, "detach"):
            self._file = handle.detach()
            self._memory = mmap.mmap(self._file, self.count)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # The mapping lives as long as arrays look at it; the descriptor is not needed for that. At the end of a program
        # the modules may have gone before.
        if getattr(self, "_file", -1) >= 0:
            close(self._file)

    def array(self) -> np.ndarray:
        """Return all bytes as writable uint8 [count]."""
        return np.frombuffer(self._memory, dtype=np.uint8)


class Slots:
    """A ring of equal places for batches.

    Args:
        count: places.
        slot_bytes: bytes of each.
    """

    def __init__(self, count: int, slot_bytes: int) -> None:
        self.count, self._slot_bytes = count, slot_bytes
        self.memory = SharedBytes(count * slot_bytes)

    def view(self, number: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return uint8 of `shape` at the start of a slot; numbers wrap around."""
        start = number % self.count * self._slot_bytes
        return self.memory.array()[start : start + int(np.prod(shape))].reshape(shape)
