"""What `--device` and `--precision` mean, for one process and for many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from accel_yolo.errors import ConfigError, EnvironmentFault


def cuda_index(device: str) -> int:
    """Return the number in "0", "cuda" or "cuda:0".

    Raises:
        ConfigError: not one CUDA device.
    """
    text = device.strip().lower()
    number = "0" if text == "cuda" else text.removeprefix("cuda:")
    if not number.isdecimal():
        remedy = "name one device here" if "," in number else "use cpu, mps or the number of a GPU such as 0"
        raise ConfigError("not one device", "--device", device, remedy)
    return int(number)


def named_device(device: str) -> torch.device:
    """Return the device of a process that works alone.

    Args:
        device: "" takes the first CUDA device, else the CPU; "cpu"; "mps"; or one CUDA device ("0", "cuda:0").

    Raises:
        ConfigError: not a device, several, or one that is not there.
    """
    text = device.strip().lower()
    if text == "":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if text == "cpu":
        return torch.device("cpu")
    if text == "mps":
        require_mps(device)
        return torch.device("mps")
    index, found = cuda_index(device), torch.cuda.device_count()
    if index >= found:
        raise no_such_device(device, found)
    return torch.device(f"cuda:{index}")


def no_such_device(device: str, found: int) -> ConfigError:
    """Return the error about a GPU that is not there, when `found` are."""
    remedy = f"{found} found, counted from 0; use --device cpu" if found else "none found; use --device cpu"
    return ConfigError("no such CUDA device", "--device", device, remedy)


def require_mps(device: str) -> None:
    """Check that there is an Apple GPU. Raises ConfigError."""
    if not torch.backends.mps.is_available():
        raise ConfigError("no such device", "--device", device, "use --device cpu")


def moved(values: torch.Tensor | np.ndarray, device: torch.device) -> torch.Tensor:
    """Return a small table of the host on a device, without waiting for the copy: only pinned memory allows that."""
    tensor = torch.as_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def require_precision(precision: str, on_cpu: bool) -> None:
    """Check that a precision works on the device; fp16 on a CPU would silently be float32. Raises ConfigError."""
    if precision == "fp16" and on_cpu:
        raise ConfigError("fp16 does not work on a CPU", "--precision", "fp16", "use --precision bf16 or fp32")


_AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type a network computes in for evaluation and prediction, or None for float32 throughout.

    Args:
        precision: "auto" and "fp32" are float32, so that results are the same on every device; "fp16"; "bf16".
        device: where the network runs.

    Raises:
        ConfigError: fp16 without an accelerator.
    """
    require_precision(precision, device.type == "cpu")
    return _AUTOCAST.get(precision)


def precision_named(dtype: torch.dtype | None) -> str:
    """Return the precision for which `autocast_dtype` says `dtype`."""
    return next((name for name, each in _AUTOCAST.items() if each == dtype), "fp32")


@contextlib.contextmanager
def memory_named(setting: str, remedy: str) -> Iterator[None]:
    """Turn "out of memory" of a device into a user error that names the setting and the remedy.

    Raises:
        EnvironmentFault: the device has no memory left.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentFault("out of GPU memory", setting, str(error).split(". ")[0], remedy) from error
