"""A start of a run, as `environment.json` keeps it: when, what was typed, on how many of what."""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import torch

from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.config.settings import rules_of
from accel_yolo.engine.build import Data, Training
from accel_yolo.engine.environment import environment
from accel_yolo.engine.machine_facts import device_name
from accel_yolo.engine.run_facts import OF_THE_MACHINE, versions
from accel_yolo.engine.world import World
from accel_yolo.files import sha256_bytes


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


def checkpoint_facts(training: Training, data: Data, world: World) -> dict[str, Any]:
    """Return what each checkpoint of a run says besides its state.

    "model" says what is trained; the rest is for people: processes and machines, versions, a digest of the recipe and
    those of the data.
    """
    config = training.config
    recipe = {name: getattr(config, name) for name in rules_of(TrainConfig) if name not in OF_THE_MACHINE}
    recipe |= {f"hyp/{name}": getattr(config.hyp, name) for name in rules_of(Hyp)}
    return {
        "model": json.loads(training.meta.to_json()),
        "world": {"processes": world.size, "places": [world.place_of(rank) for rank in range(world.size)]},
        "versions": versions(),
        "config_sha256": sha256_bytes(json.dumps(recipe, sort_keys=True).encode()),
        "data": {"train": data.train.digest, "val": data.val.digest},
        "images": {"train": len(data.train), "val": len(data.val)},
    }
