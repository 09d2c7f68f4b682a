"""Failures of devices and peers, in words the user can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from accel_yolo.devices import memory_named
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError

TELL_OF_THEIR_OWN = ("torchrun", "accelerate")
_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Timed out waiting",
    "Broken pipe",
    "NCCL communicator was aborted",
    "remote process exited",
    "ncclRemoteError",
    "ncclSystemError",
    "Socket closed",
    "caused pair closure",
)


@contextlib.contextmanager
def named_faults(setting: str, batch: int, world: World) -> Iterator[None]:
    """Turn failures of the device or of another process into user errors.

    Args:
        setting: the flags that decide how much memory is needed.
        batch: the batch of these flags.
        world: this run.

    Raises:
        EnvironmentFault: the device has no memory left; names the setting and what to change.
        PeerError: another process is gone; its own message says why.
    """
    remedy = f"try --batch {max(batch // 2, 1)}, a smaller --imgsz or model, or more processes"
    try:
        with memory_named(setting, remedy):
            yield
    except RuntimeError as error:
        if world.size > 1 and any(sign in str(error) for sign in _LOST_PEER):
            lost = PeerError("another process is gone", "this run", remedy="its own message says why")
            # A launcher of torch says itself which process of its machine has failed.
            is_told = world.launcher in TELL_OF_THEIR_OWN
            lost.already_reported = is_told and (world.machines == 1 or not world.is_first_here)
            raise lost from error
        raise
