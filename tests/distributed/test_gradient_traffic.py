"""What travels between processes while they train, and in which type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from jobs import tiny_config, watched_training
from torch import nn

from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.engine.world import World

Run = Callable[..., list[Any]]


def gradients(run_processes: Run, data: Path, project: Path, compression: str) -> dict[str, np.ndarray]:
    config = tiny_config(data, project / compression, noval=True, bn_group=2, gradient_compression=compression)
    first, second = run_processes(2, watched_training, config, False)
    assert first["ema"] == second["ema"], "all processes hold the same gradient"
    return first["gradients"]


@pytest.mark.parametrize(
    ("compression", "least", "most"), [("bf16", 1e-4, 2e-2), pytest.param("fp16", 1e-6, 2e-3, marks=pytest.mark.slow)]
)
def test_compressed_gradients_differ_by_the_rounding_of_their_type(
    run_processes: Run, sparse_data: Path, tmp_path: Path, compression: str, least: float, most: float
) -> None:
    plain = gradients(run_processes, sparse_data, tmp_path, "none")
    compressed = gradients(run_processes, sparse_data, tmp_path, compression)
    flat, other = (np.concatenate([g.ravel() for g in found.values()]).astype(float) for found in (plain, compressed))
    difference = np.linalg.norm(flat - other) / np.linalg.norm(flat)
    assert least < difference < most


def broadcasts_of_a_step() -> int:
    """Return how often buffers were broadcast in three forward passes of a prepared model with BatchNorm."""
    world = World.start("cpu")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    prepared, _ = world.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), exchange=True)
    mean = model[1].running_mean
    for _ in range(3):
        prepared(torch.randn(2, 3, 8, 8) + world.rank).sum().backward()
    # A broadcast of buffers would have made these equal.
    means = world.gather_text(str(mean.tolist()))
    return int(means[0] == means[1])


def test_no_buffers_are_broadcast_in_a_step(run_processes: Run) -> None:
    assert run_processes(2, broadcasts_of_a_step) == [0, 0]


def timeouts() -> list[float]:
    World.start("cpu", launch=LaunchConfig(collective_timeout=37))
    groups = [dist.group.WORLD, *(group for group in dist.distributed_c10d._world.pg_map if group != dist.group.WORLD)]
    seconds = []
    for group in groups:
        seconds.append(group._get_backend(torch.device("cpu")).options._timeout.total_seconds())
    return seconds


def test_the_timeout_of_messages_is_the_one_the_user_gave(run_processes: Run) -> None:
    for found in run_processes(2, timeouts):
        assert found.count(37) == 2, "gradients and control messages"
        assert max(found) > 3600, "waiting for the process that verifies a data set is patient"


def default_timeout() -> float:
    World.start("cpu")
    return dist.group.WORLD._get_backend(torch.device("cpu")).options._timeout.total_seconds()


def test_ten_minutes_are_not_taken_for_no_answer(run_processes: Run) -> None:
    # Accelerate drops a timeout that equals its own default, and torch's is half an hour.
    assert run_processes(2, default_timeout) == [600, 600]
