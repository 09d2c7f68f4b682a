"""A start of a run, as `environment.json` keeps it: when, what was typed, on how many of what."""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch

from accel_yolo.engine.environment import environment
from accel_yolo.engine.machine_facts import device_name
from accel_yolo.engine.world import World


def session(step: int, lines: Sequence[str], world: World) -> dict[str, Any]:
    """Return what is started, on all processes; every process takes part.

    Args:
        step: the step that it goes on from, 0 for a new run.
        lines: how the batch is shared and what BatchNorm sees, in words.
        world: all processes.
    """
    devices = [json.loads(text) for text in world.gather_text(json.dumps(device_name(world)))]
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "from_step": step,
        "topology": {
            "processes": world.size,
            "machines": world.machines,
            "launcher": world.launcher,
            "devices": devices,
            "threads_per_process": torch.get_num_threads(),
            "precision": world.precision,
            "lines": list(lines),
        },
        "environment": environment() if world.is_leader else {},  # only the leader writes it
    }
