"""The device a single process predicts on."""

from __future__ import annotations

import torch

from accel_yolo.errors import ConfigError, EnvironmentFault


def choose_device(device: str) -> torch.device:
    """Return the device named by `--device`.

    Args:
        device: "" takes the first CUDA device, else the CPU; "cpu"; "mps"; or a CUDA index such as "0" or "cuda:0".

    Raises:
        ConfigError: not a device, or several.
        EnvironmentFault: the named device is not there.
    """
    text = device.strip().lower()
    if text == "":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if text == "cpu":
        return torch.device("cpu")
    if text == "mps":
        if not torch.backends.mps.is_available():
            raise EnvironmentFault("no such device", "--device", device, "use --device cpu")
        return torch.device("mps")
    index = text.removeprefix("cuda:")
    if not index.isdecimal():
        several = "," in index
        remedy = "prediction runs on one device; name one" if several else "use cpu, mps or a number such as 0"
        raise ConfigError("not one device", "--device", device, remedy)
    if int(index) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise EnvironmentFault("no such CUDA device", "--device", device, f"{found} found; use --device cpu")
    return torch.device(f"cuda:{int(index)}")


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type the network computes in, or None for float32 throughout.

    Args:
        precision: "auto" and "fp32" are float32 (predictions are the same on every device); "fp16"; "bf16".
        device: where the network runs.

    Raises:
        ConfigError: fp16 without an accelerator.
    """
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("fp16 does not work on a CPU", "--precision", "fp16", "use --precision bf16 or fp32")
    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
