"""Worker processes of the loaders."""

from __future__ import annotations

import multiprocessing
from typing import Any

import cv2
import torch
from torch.utils.data import Dataset

from accel_yolo.errors import UserError


class Guarded(Dataset):
    """Hands user errors over as values: the DataLoader would turn them into tracebacks."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __getitem__(self, key: Any) -> Any:
        try:
            return key, self.samples[key]
        except UserError as error:
            return key, error


def _start_worker(_worker: int) -> None:
    # One thread per worker: the pool is the parallelism, and nested threads fight over the same cores.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def worker_options(workers: int, start_method: str | None = None) -> dict[str, Any]:
    """Return the DataLoader options of a persistent pool of `workers` processes (0: in the calling process)."""
    options: dict[str, Any] = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    if workers:
        options["persistent_workers"] = True
        options["worker_init_fn"] = _start_worker
        options["multiprocessing_context"] = multiprocessing.get_context(start_method) if start_method else None
    return options


def default_workers(wanted: int, batch: int, cpus: int, processes: int) -> int:
    """Return the worker count of one process: as wanted, but no more than its cores or its images."""
    return min(wanted, max(cpus // max(processes, 1), 1), batch if batch > 1 else 0)
