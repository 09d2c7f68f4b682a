"""What a run ran on: versions, machine, devices; for the record of a run and for reports of a fault."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from accel_yolo.data.room import GIB, free_disk_bytes, free_memory_bytes, usable_cores
from accel_yolo.engine.surroundings import accelerate_choices, container, open_files, path_shown, variables
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

EXTRAS = (
    "opencv-python",
    "hotcoco",
    "huggingface-hub",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxslim",
    "openvino",
    "optuna",
    "trackers",
    "av",
    "tensorboard",
    "wandb",
    "mlflow",
    "supervision",
)
"""Packages that an installation may have, and that matter where they are."""

Facts = dict[str, str | int | float]


def environment() -> Facts:
    """Return facts about this machine and what is installed on it, by name; what cannot be known is left out.

    Amounts of memory are in GiB. No package is imported to ask for its version, so a broken one does no harm; torch,
    which is asked for devices, may be broken too. Nothing that names a person or opens a door is among the facts: the
    home folder is written as ~, and of the variables of the environment only those of a list are there.
    """
    facts: Facts = {"accel_yolo": __version__, "python": platform.python_version()}
    facts.update({name: version for name in (*PACKAGES, *EXTRAS) if (version := installed(name))})
    facts.update({"installed_in": path_shown(Path(__file__).parents[2]), "interpreter": path_shown(sys.executable)})
    facts["platform"] = platform.platform()
    if where := container():
        facts["container"] = where
    facts.update({"cpu": _processor(), "cores": usable_cores()})
    facts["memory_gib"] = round(psutil.virtual_memory().total / GIB, 1)
    facts["memory_free_gib"] = round(free_memory_bytes() / GIB, 1)
    facts.update(_room())
    facts.update(_of_torch())
    facts.update(accelerate_choices())
    facts.update(variables())
    return facts


def installed(name: str) -> str:
    """Return the version of an installed distribution; "" when there is none, "damaged" when it does not say."""
    try:
        return str(importlib.metadata.version(name) or "damaged")
    except importlib.metadata.PackageNotFoundError:
        return ""
    except (KeyError, OSError, TypeError, ValueError):  # what is left of a package that was removed halfway
        return "damaged"


def _room() -> Facts:
    """Return how much disk, shared memory and how many open files there are, as far as the system tells."""
    amounts = {
        "disk_free_gib": free_disk_bytes(Path()),
        "shm_free_gib": free_disk_bytes(Path("/dev/shm"), exact=True),
    }
    facts: Facts = {name: round(value / GIB, 1) for name, value in amounts.items() if value >= 0}
    files = open_files()
    return {**facts, **({"open_files": files} if files >= 0 else {})}


def _of_torch() -> Facts:
    """Return what torch was built for and finds; one fact about it where it cannot be imported."""
    try:
        import torch
        import torch.distributed as dist
    except Exception as error:  # whatever a broken installation raises is what the report is about
        return {"torch_fault": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    version = torch.version
    built_for = f"CUDA {version.cuda}" if version.cuda else f"ROCm {version.hip}" if version.hip else "CPU"
    facts: Facts = {"torch_built_for": built_for, "torch_threads": torch.get_num_threads()}
    backends = [name for name in ("gloo", "nccl", "mpi") if getattr(dist, f"is_{name}_available", lambda: False)()]
    facts["distributed"] = ", ".join(backends) or "none"
    if torch.cuda.is_available():
        facts["cuda"] = version.cuda or version.hip or ""
        facts["cudnn"] = str(torch.backends.cudnn.version() or "")
        facts["gpus"] = ", ".join(_gpu(index) for index in range(torch.cuda.device_count()))
    elif torch.backends.mps.is_available():
        facts["gpus"] = "Apple MPS"
    if driver := _driver():
        facts["driver"] = driver
    return facts


def _processor() -> str:
    """Return the name of the processor; only Linux has to be asked in a place of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _gpu(index: int) -> str:
    import torch

    properties = torch.cuda.get_device_properties(index)
    capability = f"compute capability {properties.major}.{properties.minor}"
    return f"{properties.name} ({properties.total_memory / GIB:.0f} GiB, {capability})"


def _driver() -> str:
    """Return the version of NVIDIA's driver, also where torch finds no GPU; "" without one."""
    with contextlib.suppress(OSError):
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        numbers = [word for line in first for word in line.split() if word[:1].isdigit() and "." in word]
        if numbers:
            return numbers[0]
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True).stdout.split()
        return answer[0] if answer else ""
    return ""
