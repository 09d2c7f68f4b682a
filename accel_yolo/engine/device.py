"""Device and precision of a run, as the user and the launcher asked for them."""

from __future__ import annotations

import os

import torch

from accel_yolo import console
from accel_yolo.config.launching import VISIBLE_GPUS, device_indices, visible_names
from accel_yolo.devices import cuda_index, no_such_device, require_mps, require_precision
from accel_yolo.engine.agreement import accelerate_file, launcher_name, require_device_count, says_cpu_only
from accel_yolo.engine.launched import OURS, Launched, adopt_launch
from accel_yolo.errors import ConfigError

ONE_VISIBLE = ("slurm", "mpi")
"""Schedulers that may show each process only a GPU of its own (`--gpus-per-task 1`)."""


def choose_device(device: str) -> bool:
    """Return whether to run on the CPU, and make only the named GPUs visible.

    Args:
        device: "" takes what the launcher chose, else the first accelerator, else the CPU; "cpu"; "mps"; "cuda"; or as
            many GPUs as there are processes on this machine ("0", "2,3").

    Raises:
        ConfigError: not a device, a device that is not there, or one that contradicts the launcher.
    """
    launched = adopt_launch()
    if device == "cpu":
        return True
    cpu_only = says_cpu_only(launched)
    if device == "":
        return cpu_only or not _has_accelerator(launched)
    if cpu_only:
        raise ConfigError("the accelerate config says use_cpu", "--device", device, "leave one of them out")
    if device == "mps":
        if launched.size > 1:
            what = f"mps is one device, but there are {launched.size} processes"
            raise ConfigError(what, "--device", device, "start one process, or use --device cpu")
        require_mps(device)
        return False
    require_device_count(launched, device)
    if launched.launcher != OURS:  # which has done it
        _show_only(device)
    if not torch.cuda.is_available():
        raise no_such_device(device, 0)
    if not device_indices(device):
        _require_gpu_each(launched)
    return False


def choose_precision(precision: str, on_cpu: bool) -> str:
    """Return "fp32", "fp16" or "bf16".

    The flag decides, then the accelerate config, then the device: bf16 on CUDA devices that have it, else fp32.
    `mixed_precision: 'no'` is what Accelerate exports when nothing was chosen, so it counts as no choice.

    Raises:
        ConfigError: flag and config disagree, or fp16 on a CPU (Accelerate would silently compute in fp32).
    """
    configured = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    configured = "auto" if configured == "no" else configured
    if "auto" not in (precision, configured) and precision != configured:
        place, values = "--precision and the accelerate config", f"{precision} and {configured}"
        raise ConfigError("precision is given twice", place, values, "leave one of them out")
    chosen = configured if precision == "auto" else precision
    require_precision(chosen, on_cpu)
    if chosen != "auto":
        return chosen
    # Emulated bf16 (older GPUs) is slower than fp32.
    has_bf16 = not on_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def _has_accelerator(launched: Launched) -> bool:
    """Return whether a device was found where none was named.

    Raises:
        ConfigError: the launcher was told to use GPUs and there are too few.
    """
    # Apple's GPU is one device: several processes work on the CPU.
    if torch.cuda.is_available() or (launched.size == 1 and torch.accelerator.is_available()):
        _require_gpu_each(launched)
        return True
    if launched.launcher != "accelerate":
        return False
    file = accelerate_file(launched)
    if file is not None and file.asks_for_gpus:
        shipped = "2cpu.yaml" if file.total > 1 else "cpu.yaml"
        what = f"{file.label} asks for GPUs and this machine has none"
        raise ConfigError(what, remedy=f"use {shipped} or --device cpu")
    if file is None and launched.size > 1:
        console.note("no GPU here, and the accelerate config is not known: working on the CPU (--device cpu says so)")
    return False


def _require_gpu_each(launched: Launched) -> None:
    found = torch.cuda.device_count()
    if found == 1 and launched.launcher in ONE_VISIBLE:
        return  # the preflight tells whether they are different ones
    if torch.cuda.is_available() and launched.local_size > found:
        where, remedy = (
            f"what {launcher_name(launched)} started",
            f"{found} found: start at most {found} on this machine",
        )
        raise ConfigError("more processes than GPUs", where, launched.local_size, f"{remedy}, or use --device cpu")


def _show_only(device: str) -> None:
    """Let CUDA see the named devices, counted among those visible now; only effective before CUDA starts."""
    indices = device_indices(device)
    if not indices:
        cuda_index(device)  # or it is no device at all
        return
    if os.environ.get(VISIBLE_GPUS, "") == ",".join(map(str, indices)):  # the launcher was told the same
        return
    names = visible_names(indices, device)
    found = torch.cuda.device_count()
    if max(indices) >= found:
        raise no_such_device(device, found)
    os.environ[VISIBLE_GPUS] = ",".join(names)
