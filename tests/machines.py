"""Processes of one computer that take themselves for several machines: own names and numbers, own files."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from accel_yolo import console
from accel_yolo.engine.world import World
from accel_yolo.errors import UserError

HOSTS = ("alpha", "beta", "gamma")


def join(per_machine: int = 1, intents: tuple[str, ...] = ()) -> World:
    """Return the world of this process, on machine rank // per_machine; called once, before anything else.

    Args:
        per_machine: processes of each machine.
        intents: what each machine was started for, if they differ.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    machine, local_rank = divmod(rank, per_machine)
    os.environ.update(
        LOCAL_RANK=str(local_rank),
        LOCAL_WORLD_SIZE=str(per_machine),
        GROUP_RANK=str(machine),
        GROUP_WORLD_SIZE=str(size // per_machine),
        GLOO_SOCKET_IFNAME="lo",
        NCCL_SOCKET_IFNAME="lo",
    )
    socket.gethostname = lambda: HOSTS[machine]
    console.quiet()
    return World.start("cpu", intent=intents[machine] if intents else "")


def outcome(action: Callable[[], Any]) -> tuple[str, str, int, bool]:
    """Return kind, line and exit code of the user error that `action` raises, and whether this process prints it."""
    try:
        action()
    except UserError as error:
        return type(error).__name__, str(error), error.exit_code, not error.already_reported
    return "", "", 0, False
