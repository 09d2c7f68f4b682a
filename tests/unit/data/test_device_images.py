"""A split in device memory: what is kept, and what is refused beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accel_yolo.data import device_images
from accel_yolo.data.device_images import DeviceImages, free_device_bytes, require_room
from accel_yolo.data.room import GIB, UNKNOWN
from accel_yolo.errors import EnvironmentFault
from accel_yolo.letterbox import FILL

CPU = torch.device("cpu")


@pytest.fixture
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*rng.integers(1, 40, 2), 3), dtype=np.uint8) for _ in range(30)]


@pytest.mark.parametrize("staged_bytes", [1, 5000, 1 << 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_image_lies_where_the_table_says(
    images: list[np.ndarray], staged_bytes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_images, "STAGED_BYTES", staged_bytes)
    held = DeviceImages.load(images.__getitem__, [image.shape[:2] for image in images], CPU, threads)
    assert (held.pixels[0] == FILL).all()
    assert len(held.pixels) == 1 + sum(image.shape[0] * image.shape[1] for image in images)
    for number, image in enumerate(images):
        height, width = held.sizes_hw[number].tolist()
        start = int(held.offsets[number])
        assert np.array_equal(held.pixels[start : start + height * width].view(height, width, 3), image)


def test_images_that_do_not_fit_are_refused_before_the_first_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unread(index: int) -> np.ndarray:
        raise AssertionError("an image was read")

    monkeypatch.setattr(device_images, "free_device_bytes", lambda device: GIB)
    with pytest.raises(EnvironmentFault, match=r"do not fit .* in --cache device: 1\.1 GiB of images, 1\.0 GiB free"):
        DeviceImages.load(unread, np.full((1000, 2), (640, 640)), CPU)


def test_training_keeps_half_of_the_free_memory() -> None:
    require_room(GIB // 2, GIB, "cuda:0")
    with pytest.raises(EnvironmentFault, match="use --cache without 'device'"):
        require_room(GIB // 2 + 1, GIB, "cuda:0")
    require_room(100 * GIB, UNKNOWN, "a device that does not tell")


def test_the_memory_of_the_machine_counts_for_its_processor() -> None:
    assert free_device_bytes(CPU) > 0
