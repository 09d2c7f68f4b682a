"""Test-time augmentation: three views of an image, and the way back into its pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accel_yolo.inference.augmented import FILL, VIEWS, AugmentedNetwork, View, seen
from accel_yolo.inference.network import TorchNetwork
from accel_yolo.models.weights import detector_from_weights, load_weights


def pattern(height: int, width: int) -> torch.Tensor:
    """The synthetic image of the recordings: [1, 3, H, W], pixel (7 c + 3 i + 5 j) mod 256."""
    c, i, j = torch.meshgrid(torch.arange(3), torch.arange(height), torch.arange(width), indexing="ij")
    return ((7 * c + 3 * i + 5 * j) % 256).float()[None] / 255


@torch.inference_mode()
def test_the_published_weights_give_the_recorded_sum(published_weights: Path) -> None:
    network = AugmentedNetwork(TorchNetwork(detector_from_weights(load_weights(published_weights))))
    rows, image = network.candidates(network(pattern(64, 96)), -1.0)
    assert rows.shape == (828, 85)  # 360 of the first view without its coarsest level, 378, 90 without the finest
    assert rows.double().sum().item() == pytest.approx(144680.23, abs=0.5)
    assert not image.any()


def test_views_are_scaled_mirrored_and_padded_with_grey_at_the_right_and_bottom() -> None:
    image = torch.zeros(1, 3, 64, 96)
    image[..., :48] = 1
    assert torch.equal(seen(image, VIEWS[0], 32), image)
    mirrored = seen(image, VIEWS[1], 32)
    assert mirrored.shape == (1, 3, 64, 96)
    assert mirrored[0, 0, 10, 10] == 0 and mirrored[0, 0, 10, 70] == 1
    assert (mirrored[:, :, 53:] == FILL).all() and (mirrored[:, :, :, 79:] == FILL).all()
    small = seen(image, VIEWS[2], 32)
    assert small.shape == (1, 3, 64, 96)
    assert small[0, 0, 41, 63] == 0 and (small[:, :, 42:] == FILL).all() and (small[:, :, :, 64:] == FILL).all()


@torch.inference_mode()
def test_boxes_of_each_view_come_back_into_pixels_of_the_image(published_weights: Path) -> None:
    network = TorchNetwork(detector_from_weights(load_weights(published_weights)))
    augmented = AugmentedNetwork(network)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    for view in (View(0.83, False, slice(None)), View(1.0, True, slice(None))):
        raws = network(seen(images, view, 32))
        plain, place = network.candidates(raws, -1.0)
        rows, image = augmented.candidates([(view, raws, 96)], -1.0)
        assert torch.equal(place, image)
        expected = plain[:, :4] / view.scale
        if view.mirrored:
            expected = torch.stack((96 - expected[:, 0], *expected[:, 1:].T), 1)
        torch.testing.assert_close(rows[:, :4], expected)
        assert torch.equal(rows[:, 4:], plain[:, 4:])
