"""Settings of processes and machines, and of the commands that examine them. None of them is part of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from accel_yolo.config.rules import Number, Several, Text
from accel_yolo.config.settings import (
    DEVICE,
    cache_choice,
    check_fields,
    count,
    filled,
    flag_of,
    precision_choice,
    run_name,
    setting,
    size,
    switch,
    utf8_folder,
)
from accel_yolo.errors import ConfigError


def starts_one_process(where: str) -> ConfigError:
    """Return the error for Accelerate's MULTI_CPU, which without MPI starts one process, however many it names."""
    remedy = "use accelerate_configs/2cpu.yaml, or answer multi-GPU with use_cpu: true in `accelerate config`"
    return ConfigError("this accelerate config starts one process only", where, "MULTI_CPU", remedy)


@dataclass(frozen=True)
class LaunchConfig:
    """How many processes there are, where, and how they find each other.

    Attributes:
        config_file: an Accelerate YAML for our own launcher, a path or the name of a shipped one.
        processes: processes on this machine; 0 leaves it to `--device`.
        machines: machines of the run.
        machine_rank: number of this machine, from 0.
        main_process_ip, main_process_port: address of machine 0; port 0 takes a free one (one machine only).
        interface: network interface for traffic between machines; "" takes the one that leads to machine 0.
        connect_timeout: seconds to wait for the other machines at the start.
        collective_timeout: seconds after which a message between processes counts as lost.
        max_restarts: how often our own launcher starts the processes again after a failure.
        no_preflight: skip the comparison of code, configuration and data between processes.
    """

    config_file: str = setting("", Text())
    processes: int = count(0)
    machines: int = count(1, low=1)
    machine_rank: int = count(0)
    main_process_ip: str = setting("", Text())
    main_process_port: int = setting(0, Number(whole=True, low=0, high=65535))
    interface: str = setting("", Text())
    connect_timeout: int = count(600, low=1)
    collective_timeout: int = count(600, low=1)
    max_restarts: int = count(0)
    no_preflight: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class CheckConfig:
    """What `accel-yolo check` compares and tries besides processes and machines themselves."""

    data: str = setting("", Text())
    weights: str = setting("", Text())
    device: str = setting("", DEVICE)
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)


@dataclass(frozen=True)
class ProfileConfig:
    """What `accel-yolo profile` measures.

    Attributes:
        processes: world sizes to measure.
        batch_per_process: images per step on each process, as in YOLOv5's table (16).
        steps: timed steps of each kind.
        images, val_images: images of an epoch that times are scaled to; 0 takes those of the data set.
        into: (internal) where a measured world writes its numbers.
    """

    data: str = filled("coco128", "a data YAML or the name of a shipped one")
    cfg: str = filled("yolov5s", "a model YAML or the name of a shipped one")
    imgsz: int = size(640)
    processes: tuple[int, ...] = setting((1,), Several(Number(whole=True, low=1, high=1024)))
    batch_per_process: int = count(16, low=1)
    steps: int = count(20, low=2)
    images: int = count(0)
    val_images: int = count(0)
    device: str = setting("", DEVICE)
    precision: str = precision_choice()
    workers: int = setting(8, Number(whole=True, low=0, high=1024))
    sync_bn: bool = switch()
    bn_group: int = count(0)
    decode_once: int = count(0)
    compile: bool = switch()
    cuda_graphs: bool = switch()
    cache: str = cache_choice()
    cache_dir: str = setting("", Text())
    interface: str = setting("", Text())
    into: str = setting("", Text())
    project: str = utf8_folder("runs/profile", "a folder")
    name: str = run_name(utf8=True)
    exist_ok: bool = switch()
    verbose: bool = switch()
    quiet: bool = switch()
    debug: bool = switch()

    def __post_init__(self) -> None:
        check_fields(self, flag_of)
