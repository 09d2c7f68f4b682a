"""accel_yolo: YOLOv5-family detectors, one visible training loop, any topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel_yolo.errors import UserError
from accel_yolo.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from accel_yolo.inference.fusion import Fusion
    from accel_yolo.inference.interface.model import Model
    from accel_yolo.inference.results import Detection, Detections

__all__ = ["Detection", "Detections", "Model", "UserError", "__version__", "load"]

_LAZY = {
    "Detection": "accel_yolo.inference.results",
    "Detections": "accel_yolo.inference.results",
    "Model": "accel_yolo.inference.interface.model",
}


def load(
    weights: str | Path | Sequence[str | Path],
    device: str = "",
    precision: str = "auto",
    augment: bool = False,
    fusion: Fusion = "nms",
) -> Model:
    """Return a detector ready for images.

    >>> model = accel_yolo.load("best.pt", device="cpu")
    >>> print(model("photo.jpg"))
    photo.jpg: 6 persons, 1 bicycle, 1 dog

    Args:
        weights: a file (`.safetensors`, `.pt`, exported), the name of a published model ("yolov5s"), a repository of
            the Hugging Face hub ("org/name"), a folder that `save_pretrained` wrote, or several: an ensemble.
        device: "" takes the first CUDA device, else the CPU; "cpu", "mps", or a CUDA index such as "0".
        precision: "auto" (float32), "fp32", "fp16" or "bf16".
        augment: look at each image three times (test-time augmentation).
        fusion: how the answers of an ensemble are put together: "nms" or "wbf" (weighted box fusion).

    Raises:
        UserError: no such weights, damaged ones, or no such device; in one line.
    """
    # Here and not above: whoever asks for the version or for `--help` does not wait for torch.
    from accel_yolo.inference.interface.loading import open_detector
    from accel_yolo.inference.interface.model import Model

    return Model(*open_detector(weights, device, precision, augment, fusion))


def __getattr__(name: str) -> Any:
    """Return a class of the public interface, imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'accel_yolo' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
