"""All resized images of a split in the memory of a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accel_yolo.data.images import Load
from accel_yolo.data.room import UNKNOWN, amount, free_memory_bytes
from accel_yolo.errors import EnvironmentFault
from accel_yolo.letterbox import FILL

MOST_SHARE = 0.5
"""Share of the free memory that images may take; training needs the rest."""

STAGED_BYTES = 64 << 20
"""Bytes that travel to the device at once."""


@dataclass(frozen=True, eq=False)
class DeviceImages:
    """Images of many sizes, one after another.

    Attributes:
        pixels: uint8 [1 + n, 3] RGB: a grey pixel, which stands for what no image covers, then all images row by row.
        offsets: int64 [images], first pixel of each.
        sizes_hw: int32 [images, 2], px.
    """

    pixels: Tensor
    offsets: Tensor
    sizes_hw: Tensor

    @classmethod
    def load(
        cls,
        load: Load,
        sizes_hw: Sequence[tuple[int, int]] | np.ndarray,
        device: torch.device,
        threads: int = 1,
    ) -> DeviceImages:
        """Return the images on a device. Their size is compared with its free memory before the first one is read.

        Args:
            load: number of an image -> RGB uint8 [h, w, 3]; called from several threads.
            sizes_hw: [n, 2] sizes of what `load` gives, px.
            device: where to.
            threads: how many images are read at once.

        Raises:
            EnvironmentFault: they do not fit.
            DataError: an image cannot be read.
        """
        sizes = np.asarray(sizes_hw, dtype=np.int64).reshape(-1, 2)
        ends = sizes.prod(1).cumsum() + 1
        last = int(ends[-1]) if len(ends) else 1
        require_room(3 * last, free_device_bytes(device), str(device))
        pixels = torch.empty((last, 3), dtype=torch.uint8, device=device)
        pixels[0] = FILL
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            for images in _runs(sizes):
                content = list(pool.map(lambda index: load(index).reshape(-1, 3), images))
                start, stop = int(ends[images[-1]]) - sum(map(len, content)), int(ends[images[-1]])
                pixels[start:stop] = torch.from_numpy(np.concatenate(content)).to(device)
        offsets = np.concatenate((np.ones(1, dtype=np.int64), ends))[: len(sizes)]
        return cls(pixels, *(torch.from_numpy(each).to(device) for each in (offsets, sizes.astype(np.int32))))


def require_room(wanted_bytes: int, free_bytes: int, device: str) -> None:
    """Check that images fit beside training.

    Raises:
        EnvironmentFault: they take more than `MOST_SHARE` of what is free.
    """
    if free_bytes == UNKNOWN or wanted_bytes <= MOST_SHARE * free_bytes:
        return
    value = f"{amount(wanted_bytes)} of images, {amount(free_bytes)} free on {device}"
    remedy = f"use --cache without 'device', or a smaller --imgsz: images may take {MOST_SHARE:.0%} of what is free"
    raise EnvironmentFault("the training images do not fit into the device's memory", "--cache device", value, remedy)


def free_device_bytes(device: torch.device) -> int:
    """Return the free memory of a device, what its allocator keeps in reserve included; UNKNOWN if it does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return free_memory_bytes() if device.type == "cpu" else UNKNOWN


def _runs(sizes_hw: np.ndarray) -> Iterator[range]:
    """Yield runs of neighbouring images of about `STAGED_BYTES` each."""
    first, staged = 0, 0
    for index, image_bytes in enumerate((3 * sizes_hw.prod(1)).tolist()):
        staged += image_bytes
        if staged >= STAGED_BYTES or index + 1 == len(sizes_hw):
            yield range(first, index + 1)
            first, staged = index + 1, 0
