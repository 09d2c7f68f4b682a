"""Device, precision and process count of a run, as the user and the launcher asked for them."""

from __future__ import annotations

import os

import torch

from accel_yolo.devices import cuda_index, require_mps, require_precision
from accel_yolo.errors import ConfigError, EnvironmentFault


def launched_processes() -> int:
    """Return how many processes the launcher says there are.

    Raises:
        ConfigError: the launcher meant several processes but started one (Accelerate's MULTI_CPU without mpirun).
    """
    environment = os.environ
    size = environment.get("WORLD_SIZE") or environment.get("PMI_SIZE") or environment.get("OMPI_COMM_WORLD_SIZE")
    if size is None and _launched_on_cpu() and "MASTER_ADDR" in environment:
        raise ConfigError(
            "this accelerate config starts one process only",
            "distributed_type",
            "MULTI_CPU",
            "use accelerate_configs/2cpu.yaml, or answer multi-GPU with use_cpu: true in `accelerate config`",
        )
    return int(size or 1)


def choose_device(device: str) -> bool:
    """Return whether to run on the CPU, and make only the named GPU visible.

    Args:
        device: "" takes what the launcher chose, else the first accelerator, else the CPU; "cpu"; "mps"; one CUDA
            device; or, under a launcher that has already chosen, a list such as "0,1".

    Raises:
        ConfigError: not a device, or a GPU under a launcher that was told to use the CPU.
        EnvironmentFault: the named device is not there.
    """
    if device in ("", "cpu"):
        return device == "cpu" or _launched_on_cpu() or not torch.accelerator.is_available()
    if _launched_on_cpu():
        raise ConfigError("the accelerate config says use_cpu", "--device", device, "leave one of them out")
    if device == "mps":
        require_mps(device)
        return False
    if "LOCAL_RANK" not in os.environ:
        _show_only(cuda_index(device))
    if not torch.cuda.is_available():
        raise EnvironmentFault("no such CUDA device", "--device", device, "use --device cpu, or leave the flag out")
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


def _launched_on_cpu() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")


def _show_only(index: int) -> None:
    """Let CUDA see one device, counted among those that are visible now; only effective before CUDA starts."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else [str(number) for number in range(index + 1)]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[index].strip() if index < len(names) else ""
