"""Failures of devices and peers, in words the user can act on."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator

from accel_yolo import waypoints
from accel_yolo.devices import memory_named
from accel_yolo.engine import stacks
from accel_yolo.engine.beats import Finding
from accel_yolo.engine.launched import OURS
from accel_yolo.engine.world import World
from accel_yolo.errors import PeerError, UserError, first_line

_END_S = 6.0
"""How long a process that has lost another may take to say so and to end."""

_TIMED_OUT = ("Timed out waiting", "timed out", "timeout")
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
    "Application timeout",
    "collective operation timeout",
    "Watchdog caught",
    "No route to host",
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
            raise _lost(str(error), world) from error
        _tell(error, world)
        raise
    except Exception as error:
        _tell(error, world)
        raise


def _tell(error: Exception, world: World) -> None:
    """Tell the others why this process ends: they will miss it."""
    if world.heartbeat is None or (isinstance(error, UserError) and error.already_reported):
        return
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    world.heartbeat.tell(f"{kind}{first_line(error)}")


def _lost(reason: str, world: World) -> PeerError:
    """Return the error of a process whose messages to others have failed: it says who is the reason."""
    finding = Finding("another process is gone")
    if world.heartbeat is not None:
        has_timed_out = any(sign in reason for sign in _TIMED_OUT)
        waited_s = time.monotonic() - waypoints.place().since
        finding = world.heartbeat.find_out(waited_s, has_timed_out)
    remedy = "" if finding.kind else "its own message says why"
    lost = PeerError(finding.message, remedy=remedy)
    if finding.beat is not None and finding.kind != "cut":
        lost.culprit = finding.beat.as_failure | {"stacks": stacks.told(finding.beat.rank)}
    if world.launcher != OURS:  # where nobody else speaks, one process of each machine does
        told = finding.kind == "failed" and finding.beat is not None and finding.beat.machine == world.machine
        lost.already_reported = told or (world.heartbeat is not None and not world.heartbeat.speaks(finding))
    if world.heartbeat is not None:
        world.heartbeat.end_hung(finding)
    _end_for_certain(lost.exit_code)
    return lost


def _end_for_certain(code: int) -> None:
    """End this process soon, whatever it waits for: messages that are under way can hold up the end of a program."""

    def end() -> None:
        stacks.remove_unused()
        os._exit(code)

    timer = threading.Timer(_END_S, end)
    timer.daemon = True
    timer.start()
