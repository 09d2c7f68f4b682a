"""Device, precision and process count, as the user and the launcher asked for them."""

from __future__ import annotations

import os

import torch

from accel_yolo.errors import ConfigError, EnvironmentFault


def launched_processes() -> int:
    """Return how many processes the launcher says there are.

    Raises:
        ConfigError: the launcher meant several processes but started one (Accelerate's MULTI_CPU without mpirun).
    """
    environment = os.environ
    size = environment.get("WORLD_SIZE") or environment.get("PMI_SIZE") or environment.get("OMPI_COMM_WORLD_SIZE")
    on_cpu = environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    if size is None and on_cpu and "MASTER_ADDR" in environment:
        raise ConfigError(
            "this accelerate config starts one process only",
            "distributed_type",
            "MULTI_CPU",
            "use accelerate_configs/2cpu.yaml, or answer multi-GPU with use_cpu: true in `accelerate config`",
        )
    return int(size or 1)


def choose_device(device: str) -> bool:
    """Return whether to run on the CPU, and make only the named accelerator visible.

    Args:
        device: "" takes the first accelerator, else the CPU; "cpu"; "mps"; or one CUDA index such as "0".

    Raises:
        EnvironmentFault: the named device is not there.
    """
    if device == "cpu":
        return True
    if device in ("", "mps"):
        if device == "mps" and not torch.backends.mps.is_available():
            raise EnvironmentFault("no such device", "--device", device, "use --device cpu")
        return not torch.accelerator.is_available()
    if "LOCAL_RANK" not in os.environ:
        # Only meaningful before CUDA starts; under a launcher the launcher has already chosen.
        os.environ["CUDA_VISIBLE_DEVICES"] = device
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
        raise ConfigError(
            "precision is given twice", "--precision and the accelerate config", f"{precision} and {configured}",
            "leave one of them out",
        )  # fmt: skip
    chosen = configured if precision == "auto" else precision
    if chosen == "fp16" and on_cpu:
        raise ConfigError("fp16 does not work on a CPU", "--precision", "fp16", "use --precision bf16 or fp32")
    if chosen != "auto":
        return chosen
    return "bf16" if not on_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
