"""Entry points of `torch.hub.load`, with the signatures of YOLOv5's.

model = torch.hub.load("path/to/this/folder", "custom", path="best.pt", source="local")
model = torch.hub.load("path/to/this/folder", "yolov5s", source="local")
model("photo.jpg").print()
"""

from __future__ import annotations

from typing import Any

dependencies = ["torch", "torchvision", "numpy", "PIL", "cv2", "yaml", "safetensors"]


def custom(path: str = "path/to/model.pt", autoshape: bool = True, _verbose: bool = True, device: Any = None) -> Any:
    """Return the detector in a weights file of yours (.pt or .safetensors)."""
    from accel_yolo.inference.interface.hub_model import from_weights

    return from_weights(path, autoshape, _verbose, device)


def _published(name: str) -> Any:
    """Return the entry point of a published detector."""

    def entry(
        pretrained: bool = True,
        channels: int = 3,
        classes: int = 80,
        autoshape: bool = True,
        _verbose: bool = True,
        device: Any = None,
    ) -> Any:
        from accel_yolo import console
        from accel_yolo.inference.interface.hub_model import by_name

        with console.quiet_unless(_verbose):
            return by_name(name, pretrained, channels, classes, autoshape, device)

    entry.__name__ = entry.__qualname__ = name
    entry.__doc__ = f"Return the published detector {name}, or a fresh one of its architecture (pretrained=False)."
    return entry


yolov5n = _published("yolov5n")
yolov5s = _published("yolov5s")
yolov5m = _published("yolov5m")
yolov5l = _published("yolov5l")
yolov5x = _published("yolov5x")
yolov5n6 = _published("yolov5n6")
yolov5s6 = _published("yolov5s6")
yolov5m6 = _published("yolov5m6")
yolov5l6 = _published("yolov5l6")
yolov5x6 = _published("yolov5x6")
