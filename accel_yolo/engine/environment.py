"""What a run ran on: versions, machine, devices; for the record of a run and for reports of a fault."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import psutil
import torch

from accel_yolo.data.room import GIB
from accel_yolo.data.workers import usable_cores
from accel_yolo.version import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "accelerate",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "matplotlib",
)
"""Packages that every installation has."""

Facts = dict[str, str | int | float]


def environment() -> Facts:
    """Return facts about this machine and what is installed on it, by name; what cannot be known is left out.

    Amounts of memory are in GiB. Nothing is imported to ask for its version, so a broken package does no harm.
    """
    facts: Facts = {"accel_yolo": __version__, "python": platform.python_version()}
    facts.update({name: version for name in PACKAGES if (version := installed(name))})
    facts["platform"] = platform.platform()
    facts["cpu"] = _processor()
    facts["cores"] = usable_cores()
    facts["memory_gib"] = round(psutil.virtual_memory().total / GIB, 1)
    if torch.cuda.is_available():
        facts["cuda"] = torch.version.cuda or ""
        facts["cudnn"] = str(torch.backends.cudnn.version() or "")
        facts["gpus"] = ", ".join(_gpu(index) for index in range(torch.cuda.device_count()))
    return facts


def installed(name: str) -> str:
    """Return the version of an installed distribution, "" when there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """Return the name of the processor; only Linux has to be asked in a place of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _gpu(index: int) -> str:
    properties = torch.cuda.get_device_properties(index)
    return f"{properties.name} ({properties.total_memory / GIB:.0f} GiB)"
