"""accel_yolo: YOLOv5-family detectors, one visible training loop, any topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel_yolo.errors import UserError
from accel_yolo.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from accel_yolo.inference.ensemble import Fusion
    from accel_yolo.inference.model import Model
    from accel_yolo.inference.results import Detection, Detections

__all__ = ["Detection", "Detections", "Model", "UserError", "__version__", "load"]

_LAZY = {
    "Detection": "accel_yolo.inference.results",
    "Detections": "accel_yolo.inference.results",
    "Model": "accel_yolo.inference.model",
}


def load(
    weights: str | Path | Sequence[str | Path],
    device: str = "",
    precision: str = "auto",
    augment: bool = False,
    fusion: Fusion = "nms",
) -> Model:
    """Return a detector ready for images: `accel_yolo.load("yolov5s")("photo.jpg")`.

    See `accel_yolo.inference.loading.load_model` for the arguments and `accel_yolo.Model` for what is returned.
    """
    # Here and not above: whoever asks for the version or for `--help` does not wait for torch.
    from accel_yolo.inference.loading import load_model

    return load_model(weights, device, precision, augment, fusion)


def __getattr__(name: str) -> Any:
    """Return a class of the public interface, imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'accel_yolo' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
