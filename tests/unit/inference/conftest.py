"""A detector whose answers are known, so that tests are about what surrounds it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn


class BrightSpot(nn.Module):
    """Finds one dog where the input is white, and one less certain person of fixed size at its top left corner."""

    names = {0: "person", 1: "dog"}
    nc = 2
    strides = (8, 16, 64)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[int, ...]] = []

    def fuse(self) -> BrightSpot:
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        self.seen.append(tuple(images.shape))
        return [images * self.scale]

    def decode(self, raws: list[Tensor]) -> Tensor:
        image = raws[0][0].amin(dim=0)
        rows, columns = torch.where(image > 0.99)
        found = torch.zeros(2, 7)
        if len(rows):
            x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
            found[0] = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, *torch.tensor([0.9, 0.1, 1.0])))
            found[1] = torch.tensor([20.0, 30, 40, 20, 0.5, 0.8, 0.1])
        return found[None]


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


def _spot_image(
    hw: tuple[int, int] = (120, 160), box_xyxy: tuple[int, int, int, int] = (40, 30, 100, 90)
) -> np.ndarray:
    """A dark image, uint8 [H, W, 3] RGB, with one white rectangle."""
    image = np.full((*hw, 3), 60, np.uint8)
    image[box_xyxy[1] : box_xyxy[3], box_xyxy[0] : box_xyxy[2]] = 255
    return image
