"""The first second of a run in several processes: do they run the same, do they reach each other, is there room?"""

from __future__ import annotations

from pathlib import Path

import torch

from accel_yolo import console
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.val_schema import ValConfig
from accel_yolo.data.ring import SLOTS
from accel_yolo.data.room import usable_cores
from accel_yolo.data.workers import default_workers
from accel_yolo.engine.comparison import Fact, places_of, require_equal
from accel_yolo.engine.link_speed import slow_links, try_links
from accel_yolo.engine.machine_facts import Needs, gather_facts, warnings_of
from accel_yolo.engine.run_facts import config_facts, package_facts, weights_facts, weights_file
from accel_yolo.engine.world import World
from accel_yolo.models.graph import build_graph
from accel_yolo.models.spec import anchors_per_level
from accel_yolo.models.zoo import model_spec

NCCL_SHM_BYTES = 1 << 30
"""What /dev/shm should have where several GPUs of one machine work together (NCCL user guide, "Docker")."""

CHECKPOINTS, COPIES, WEIGHT_FILES = 3, 3, 2
"""Checkpoints on the disk while a new one is written; copies of the parameters in each; weight files beside them."""

CLASSES = 80
"""Stands for the number of classes, which the data set will say: it hardly changes the size of a model."""


def preflight(world: World, config: TrainConfig | ValConfig, launch: LaunchConfig | None = None) -> None:
    """Compare code, packages, settings and weights of all processes, try messages, and warn of what may hinder.

    A resumed run takes its settings from machine 0. A run of one process has nothing to compare.

    Args:
        world: all processes.
        config: what the user asked for.
        launch: with `no_preflight`, nothing is done.

    Raises:
        PeerError: naming the machine that differs and the item, or the link that fails.
        CheckpointError: the weights are not there, or cannot be fetched.
    """
    if world.size == 1 or (launch is not None and launch.no_preflight):
        return
    require_equal(world, package_facts())
    require_equal(world, settings_facts(world, config))
    links = try_links(world)
    facts = gather_facts(world, Path(config.project))
    for line in (*warnings_of(places_of(world), facts, needs_of(world, config)), *slow_links(world, links)):
        console.warn(line)


def settings_facts(world: World, config: TrainConfig | ValConfig) -> list[Fact]:
    """Return the facts of settings and weights; one process of a machine fetches what is not there.

    Raises:
        CheckpointError: the weights are not there, or cannot be fetched.
        ConfigError: the model cannot be read.
    """
    facts: list[Fact] = []
    with world.together(), world.one_per_machine_first():
        facts += config_facts(config)
        facts += [] if _is_resumed(config) else weights_facts(_weights_of(config))
    return facts


def needs_of(world: World, config: TrainConfig | ValConfig) -> Needs:
    """Return what a run will ask of each machine."""
    is_training = isinstance(config, TrainConfig)
    # A batch that is yet to be chosen will have at least one image for each process.
    share = max(-(-config.batch // world.size), 1) if is_training else config.batch
    workers = default_workers(config.workers, share, usable_cores(), world.local_size)
    disk_bytes = 0
    if is_training and not config.resume:
        with world.together():
            disk_bytes = _parameters_of(config) * 4 * (CHECKPOINTS * COPIES + WEIGHT_FILES)
    shm_bytes = NCCL_SHM_BYTES if world.device.type == "cuda" and world.local_size > 1 else 0
    imgsz = config.imgsz if isinstance(config, TrainConfig) else max(config.imgsz)
    batches_bytes = SLOTS * share * 3 * imgsz**2 if workers else 0
    return Needs(Path(config.project), disk_bytes, shm_bytes, batches_bytes, workers)


def _parameters_of(config: TrainConfig) -> int:
    """Return about how many parameters a run will train, without building the model."""
    if not config.cfg:
        file = weights_file(config.weights)
        return file.stat().st_size // (2 if file.suffix == ".pt" else 4)  # published files are in half precision
    spec = model_spec(config.cfg)
    with torch.device("meta"):  # shapes only
        graph = build_graph(spec, CLASSES, anchors_per_level(spec["anchors"]), config.cfg)
    return sum(parameter.numel() for layer in graph.layers for parameter in layer.parameters())


def _weights_of(config: TrainConfig | ValConfig) -> tuple[str, ...]:
    return (config.weights,) if isinstance(config, TrainConfig) else config.weights


def _is_resumed(config: TrainConfig | ValConfig) -> bool:
    return isinstance(config, TrainConfig) and bool(config.resume)
