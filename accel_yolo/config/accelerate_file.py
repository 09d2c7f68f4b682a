"""An Accelerate YAML, as our own launcher reads it: the same keys and meaning, but strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_yolo.config.launch_schema import starts_one_process
from accel_yolo.config.rules import Choice, Number, Rule, Switch, Text
from accel_yolo.config.shipped import find_config, label_of
from accel_yolo.config.yaml_io import Located, load_yaml
from accel_yolo.errors import ConfigError, did_you_mean

_COUNT = Number(whole=True, low=1)
_RULES: dict[str, Rule] = {
    "compute_environment": Choice(("LOCAL_MACHINE",)),
    "distributed_type": Choice(("NO", "MULTI_GPU", "MULTI_CPU")),
    "mixed_precision": Choice(("no", "fp16", "bf16")),
    "use_cpu": Switch(),
    "num_processes": _COUNT,
    "num_machines": _COUNT,
    "machine_rank": Number(whole=True, low=0),
    "main_process_ip": Text(),
    "main_process_port": Number(whole=True, low=0, high=65535),
    "gpu_ids": Text(pattern="all|[0-9]+( *, *[0-9]+)*", meaning="all, or numbers of GPUs such as '2,3'"),
}
# The other keys of Accelerate's files: they belong to other kinds of training, or Accelerate itself ignores them.
_UNUSED = {
    *("debug", "rdzv_backend", "same_network", "main_training_function", "enable_cpu_affinity", "fp16"),
    *("fp8_config", "deepspeed_config", "fsdp_config", "parallelism_config", "megatron_lm_config", "mpirun_config"),
    *("ipex_config", "downcast_bf16", "dynamo_config", "dynamo_backend", "command_file", "commands"),
    *("tpu_name", "tpu_zone", "tpu_use_cluster", "tpu_use_sudo", "tpu_vm", "tpu_env"),
}


@dataclass(frozen=True)
class AccelerateFile:
    """What an Accelerate YAML asks for.

    Attributes:
        path, label: the file, and its name for messages.
        total: processes over all machines.
        machines, machine_rank, main_process_ip, main_process_port: as the file says; "" and 0 when it is silent.
        gpu_ids: numbers of GPUs as the driver counts them, () for all.
        use_cpu: no GPU is to be used.
        asks_for_gpus: the file makes no sense without a GPU.
        mixed_precision: "no", "fp16" or "bf16".
    """

    path: Path
    label: str
    total: int
    machines: int
    machine_rank: int
    main_process_ip: str
    main_process_port: int
    gpu_ids: tuple[str, ...]
    use_cpu: bool
    asks_for_gpus: bool
    mixed_precision: str


def read_accelerate_file(text: str, flag: str = "--config-file") -> AccelerateFile:
    """Return what an Accelerate YAML says.

    Args:
        text: its path, or the name of a shipped file with or without .yaml.
        flag: where `text` was given, for messages.

    Raises:
        ConfigError: no such file, not such a file, or one that our launcher cannot obey.
    """
    _, path = find_config("accelerate", text, flag)
    located = load_yaml(path, shown=label_of(path))
    values = _checked(located)
    kind = values.get("distributed_type")
    if kind is None:
        raise ConfigError("missing key", located.file, "distributed_type", "write MULTI_GPU, or 'NO' for one process")
    if kind == "MULTI_CPU":
        raise starts_one_process(located.where("distributed_type"))
    total, machines = values.get("num_processes", 1 if kind == "NO" else 0), values.get("num_machines", 1)
    if total == 0:
        raise ConfigError("missing key", located.file, "num_processes", "write the processes of all machines together")
    if kind == "NO" and total > 1:
        remedy = "write distributed_type: MULTI_GPU (with use_cpu: true for the CPU)"
        raise ConfigError("distributed_type NO starts one process", located.where("num_processes"), total, remedy)
    use_cpu, ids = values.get("use_cpu", False), values.get("gpu_ids", "")
    return AccelerateFile(
        path=path,
        label=located.file,
        total=total,
        machines=machines,
        machine_rank=values.get("machine_rank", 0),
        main_process_ip=values.get("main_process_ip", ""),
        main_process_port=values.get("main_process_port", 0),
        gpu_ids=() if ids in ("", "all") else tuple(part.strip() for part in ids.split(",")),
        use_cpu=use_cpu,
        asks_for_gpus=not use_cpu and (kind == "MULTI_GPU" or ids != ""),
        mixed_precision=values.get("mixed_precision", "no"),
    )


def _checked(located: Located) -> dict[str, Any]:
    """Return the values of the keys that count, each checked; a key without a value counts as left out."""
    if not isinstance(located.data, dict):
        raise ConfigError("not an accelerate config", located.file, remedy="write one with `accelerate config`")
    values: dict[str, Any] = {}
    for key, value in located.data.items():
        where = located.where(key)
        if key not in _RULES and key not in _UNUSED:
            raise ConfigError("unknown key", where, None, did_you_mean(str(key), [*_RULES, *_UNUSED]) or "remove it")
        if key not in _RULES or value is None:
            continue
        if key == "gpu_ids" and isinstance(value, int):
            value = str(value)
        values[key] = _RULES[key].checked(value, where)
    return values
