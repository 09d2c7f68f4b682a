"""accel_yolo: YOLOv5-family detectors, one visible training loop, any topology."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel_yolo.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from accel_yolo.inference.model import Model

__all__ = ["__version__", "load"]


def load(weights: str | Path, device: str = "", precision: str = "auto") -> Model:
    """Return a detector ready for images: `accel_yolo.load("yolov5s.pt")("photo.jpg")`.

    See `accel_yolo.inference.model` for what it takes and returns.
    """
    # Here and not above: whoever asks for the version or for `--help` does not wait for torch.
    from accel_yolo.inference.model import load_model

    return load_model(weights, device, precision)
