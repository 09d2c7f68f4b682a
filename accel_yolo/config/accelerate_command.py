"""The `accelerate launch` command that does what our own launcher does."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from accel_yolo.config.accelerate_file import read_accelerate_file
from accel_yolo.config.launch_flags import LAUNCH
from accel_yolo.config.launching import LaunchPlan
from accel_yolo.config.shipped import folder_of, shipped

# What the launcher answers itself; a script under `accelerate launch` must not answer it again.
_ANSWERED = {"processes", "config_file", "machines", "machine_rank", "main_process_ip", "main_process_port"}


def accelerate_command(plan: LaunchPlan, command: str, words: Sequence[str]) -> str:
    """Return the command to type for the same run.

    Args:
        plan: what is started; `use_cpu` is settled.
        command: name of the command of accel-yolo.
        words: the flags of the command as the user typed them.
    """
    options = _cpu_options(plan) if plan.use_cpu else _gpu_options(plan)
    if plan.machines > 1:
        options += ["--machine_rank", str(plan.machine_rank), "--main_process_ip", plan.main_process_ip]
        options += ["--main_process_port", str(plan.main_process_port)]
    drops_device = not plan.use_cpu and plan.processes > 1 and bool(plan.gpu_ids)
    kept = _without(words, _ANSWERED | ({"device"} if drops_device else set()))
    return shlex.join(["accelerate", "launch", *options, "-m", "accel_yolo", command, *kept])


def _cpu_options(plan: LaunchPlan) -> list[str]:
    if plan.config_file and read_accelerate_file(plan.config_file).use_cpu:
        return ["--config_file", _shown(Path(plan.config_file)), *_counts_unless_in(plan, Path(plan.config_file))]
    wanted = f"{plan.processes}cpu" if plan.machines == 1 else f"{plan.machines}x{plan.processes}cpu"
    path = shipped("accelerate", wanted) or folder_of("accelerate") / "2cpu.yaml"
    options = ["--config_file", _shown(path), *_counts_unless_in(plan, path)]
    return options + ([] if plan.mixed_precision == "no" else ["--mixed_precision", plan.mixed_precision])


def _gpu_options(plan: LaunchPlan) -> list[str]:
    if plan.config_file and not plan.gpu_indices:
        return ["--config_file", _shown(Path(plan.config_file)), *_counts_unless_in(plan, Path(plan.config_file))]
    options = ["--multi_gpu", "--num_processes", str(plan.total), "--num_machines", str(plan.machines)]
    if plan.gpu_ids and plan.processes > 1:  # Accelerate refuses a list of one
        options += ["--gpu_ids", ",".join(plan.gpu_ids)]
    if plan.mixed_precision != "no":
        options += ["--mixed_precision", plan.mixed_precision]
    if plan.machines == 1:
        options += ["--main_process_port", str(plan.main_process_port)]
    return options


def _counts_unless_in(plan: LaunchPlan, path: Path) -> list[str]:
    """Return the counts that differ from those of a file."""
    file = read_accelerate_file(str(path))
    options = [] if file.total == plan.total else ["--num_processes", str(plan.total)]
    return options + ([] if file.machines == plan.machines else ["--num_machines", str(plan.machines)])


def _without(words: Sequence[str], settings: set[str]) -> list[str]:
    """Return the words without the flags that fill these settings, and without their values."""
    spellings = {spelling for flag in LAUNCH if flag.fills in settings for spelling in flag.spellings}
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in spellings:
            skip = True
        elif word.partition("=")[0] not in spellings:
            kept.append(word)
    return kept


def _shown(path: Path) -> str:
    """Return a path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
