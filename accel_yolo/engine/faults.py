"""Failures of devices and peers, in words the user can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from accel_yolo.engine.world import World
from accel_yolo.errors import EnvironmentFault, PeerError

_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Timed out waiting", "Broken pipe")


@contextlib.contextmanager
def named_faults(batch: int, imgsz: int, world: World) -> Iterator[None]:
    """Turn failures of the device or of another process into user errors.

    Args:
        batch: images of the global batch.
        imgsz: image size, px.
        world: this run.

    Raises:
        EnvironmentFault: the device has no memory left; names batch, image size and what to change.
        PeerError: another process is gone; its own message says why.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        share = -(-batch // world.size)
        raise EnvironmentFault(
            f"out of memory on {world.device}",
            f"--batch {batch} ({share} images on this process) at --imgsz {imgsz}",
            str(error).split(". ")[0],
            f"try --batch {max(batch // 2, 1)}, a smaller --imgsz or model, or more processes",
        ) from error
    except RuntimeError as error:
        if world.size > 1 and any(sign in str(error) for sign in _LOST_PEER):
            raise PeerError(
                "another process is gone", f"process {world.rank} of {world.size}", remedy="its own message says why"
            ) from error
        raise
