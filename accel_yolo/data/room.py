"""How much disk and memory is left and how many cores there are, as far as this system tells."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import psutil

MIB, GIB = 1 << 20, 1 << 30
UNKNOWN = -1
"""A number that this system does not tell."""


def free_disk_bytes(folder: Path, *, exact: bool = False) -> int:
    """Return the space of a file system; of the nearest folder above that exists, unless it must be this one."""
    for place in [folder.absolute()] if exact else [folder.absolute(), *folder.absolute().parents]:
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return UNKNOWN


def free_memory_bytes() -> int:
    """Return the memory that is free, also within the limits of a container. Cached files count as free."""
    available, left = psutil.virtual_memory().available, _container_memory()
    return available if left == UNKNOWN else min(available, left)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def amount(value_bytes: int) -> str:
    """Return "1.5 GiB" or "300 MiB", or "unknown" where the system does not tell."""
    if value_bytes < 0:
        return "unknown"
    return f"{value_bytes / GIB:.1f} GiB" if value_bytes >= GIB else f"{-(-value_bytes // MIB)} MiB"


def _container_memory() -> int:
    """Return what is left of a container's limit; UNKNOWN without one."""
    root = Path("/sys/fs/cgroup")
    names = (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    )
    for limit, used, details, cached in names:
        with contextlib.suppress(OSError, ValueError):  # the limit may be the word "max"
            left = int((root / limit).read_text()) - int((root / used).read_text())
            lines = (line.split() for line in (root / details).read_text().splitlines())
            return max(left + next((int(value) for name, value in lines if name == cached), 0), 0)
    return UNKNOWN
