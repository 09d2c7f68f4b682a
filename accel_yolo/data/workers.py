"""Worker processes of the loaders."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from typing import Any

import cv2

from accel_yolo.lifeline import end_with_parent


def start_worker() -> None:
    """Make this process a worker: one thread, and an end when the process that it works for ends."""
    # One thread per worker: the pool is the parallelism, and nested threads fight over the same cores.
    cv2.setNumThreads(0)
    if "torch" in sys.modules:  # started anew, a worker does without it
        sys.modules["torch"].set_num_threads(1)
    _end_with_the_run()


def _end_with_the_run() -> None:
    """Make this worker end when the process that it works for does, however that ends.

    Left alone, it looks for its parent every few seconds only, or for ever when the parent is a server of processes.
    """
    if sys.platform == "linux":
        end_with_parent(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_await_end_of, args=(parent,), daemon=True).start()


def _await_end_of(process: Any) -> None:
    process.join()
    os._exit(1)


@dataclass(frozen=True)
class Workers:
    """How batches are made.

    Attributes:
        count: worker processes, which persist; 0 works in the calling process.
        start_method: "fork", "spawn" or "forkserver"; None takes the platform's default.
        pin_memory: batches lie in page-locked memory, from where a GPU fetches them without waiting.
        patience_s: how long one of them may be at one file before the run stops.
    """

    count: int = 0
    start_method: str | None = None
    pin_memory: bool = False
    patience_s: float = math.inf

    def at_most(self, count: int) -> Workers:
        """Return the same with no more than `count` processes."""
        return replace(self, count=min(self.count, count))


def default_workers(wanted: int, batch: int, cpus: int, processes: int) -> int:
    """Return the worker count of one process: as wanted, but no more than its cores or its images."""
    return min(wanted, max(cpus // max(processes, 1), 1), batch if batch > 1 else 0)
