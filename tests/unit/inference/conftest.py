"""A detector whose answers are known, so that tests are about what surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from accel_yolo.inference import predict
from accel_yolo.inference.network import Candidates, Network


class BrightSpot(Network):
    """Finds one dog where the input is white, and one less certain person of fixed size at its top left corner."""

    names = {0: "person", 1: "dog"}
    strides = (8, 16, 64)
    device = torch.device("cpu")
    imgsz = 640

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []

    @property
    def seen(self) -> list[tuple[int, ...]]:
        """Shapes of the inputs."""
        return [tuple(images.shape) for images in self.inputs]

    def __call__(self, images: Tensor) -> Tensor:
        self.inputs.append(images)
        return images

    def candidates(self, output: Tensor, conf_thres: float) -> Candidates:
        rows, places = [], []
        for place, image in enumerate(output.amin(dim=1)):
            y, x = torch.where(image > 0.99)
            if len(y):
                x1, x2, y1, y2 = x.min(), x.max() + 1, y.min(), y.max() + 1
                box = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1))
                rows += [
                    torch.cat((box, torch.tensor([0.9, 0.1, 1.0]))),
                    torch.tensor([20.0, 30, 40, 20, 0.5, 0.8, 0.1]),
                ]
                places += [place, place]
        return (torch.stack(rows) if rows else torch.zeros(0, 7)), torch.tensor(places, dtype=torch.int64)


@pytest.fixture
def bright_spot() -> BrightSpot:
    return BrightSpot()


@pytest.fixture
def spot_image() -> Callable[..., np.ndarray]:
    """Return the function that draws a dark image with one white rectangle."""
    return _spot_image


@pytest.fixture
def png() -> Callable[[np.ndarray], bytes]:
    """Return the function that encodes an RGB image as a PNG file."""
    return lambda image: cv2.imencode(".png", image[..., ::-1])[1].tobytes()


@pytest.fixture
def predict_place(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bright_spot: Network,
    spot_image: Callable[..., np.ndarray],
    png: Callable[..., bytes],
) -> Path:
    """A working folder with two images of one name and one without objects; the detector is the known one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "load_network", lambda *_: bright_spot)
    for name, image in {
        "photos/a/x.png": spot_image(),
        "photos/b/x.png": spot_image(box_xyxy=(80, 60, 150, 110)),
        "photos/empty.png": np.zeros((64, 64, 3), np.uint8),
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(png(image))
    return tmp_path


def _spot_image(
    hw: tuple[int, int] = (120, 160), box_xyxy: tuple[int, int, int, int] = (40, 30, 100, 90)
) -> np.ndarray:
    """A dark image, uint8 [H, W, 3] RGB, with one white rectangle."""
    image = np.full((*hw, 3), 60, np.uint8)
    image[box_xyxy[1] : box_xyxy[3], box_xyxy[0] : box_xyxy[2]] = 255
    return image
