"""From flags and an Accelerate YAML to a plan: how many processes our own launcher starts here, and on what."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from accel_yolo.config.accelerate_file import AccelerateFile, read_accelerate_file
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.config.settings import defaults_of, flag_of
from accel_yolo.errors import ConfigError

VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
LEAST_MOST_PROCESSES, PROCESSES_PER_CORE = 64, 4
"""More processes than both allow would stop a machine; no run gains from them."""


@dataclass(frozen=True)
class LaunchPlan:
    """What to start on this machine.

    Attributes:
        processes: processes on this machine.
        gpu_ids: the GPUs of these processes as CUDA_VISIBLE_DEVICES names them; () leaves all visible ones.
        gpu_indices: the same as `--device` counts them, among those visible now; () when `--device` names none.
        use_cpu: True for the CPU, False for GPUs, None for GPUs where there are some and else the CPU.
        machines, machine_rank: machines of the run, and the number of this one.
        main_process_ip, main_process_port: where the processes meet; "" and 0 leave it to the launcher (one machine).
        mixed_precision: "no" leaves it to `--precision`; "fp16", "bf16".
        connect_timeout: seconds to wait for the other machines.
        collective_timeout: seconds after which a machine that says nothing counts as lost.
        max_restarts: how often the processes are started again after a failure.
        config_file: the Accelerate YAML, "" without one.
        asked_by: the flag or the file that asks for the processes, for messages.
    """

    processes: int = 1
    gpu_ids: tuple[str, ...] = ()
    gpu_indices: tuple[int, ...] = ()
    use_cpu: bool | None = None
    machines: int = 1
    machine_rank: int = 0
    main_process_ip: str = ""
    main_process_port: int = 0
    mixed_precision: str = "no"
    connect_timeout: int = 600
    collective_timeout: int = 600
    max_restarts: int = 0
    config_file: str = ""
    asked_by: str = "--processes"

    @property
    def total(self) -> int:
        """Processes over all machines."""
        return self.processes * self.machines

    @property
    def is_alone(self) -> bool:
        """Whether one process is the whole run and is not to be started again: it needs no launcher."""
        return self.total == 1 and self.max_restarts == 0


def plan_launch(launch: LaunchConfig, device: str = "", typed: Collection[str] | None = None) -> LaunchPlan | None:
    """Return what to start, or None to work in this process.

    A flag wins over the file in what concerns this machine (its number, the meeting point, the device). Two answers
    to how many processes there are is an error.

    Args:
        launch: the settings of processes and machines.
        device: the value of `--device`.
        typed: which of `launch` the user typed; those that differ from their defaults when None.

    Raises:
        ConfigError: a contradiction, a number out of range, a missing address, a file that cannot be read.
    """
    indices = device_indices(device)
    place = _Place(launch, typed)
    file = read_accelerate_file(launch.config_file) if launch.config_file else None
    if file is not None:
        place.fill_from(file)
    _check_place(place)
    processes, asked_by = _processes(launch, place, device, indices, file)
    is_asked = launch.processes or launch.max_restarts
    if file is None and not is_asked and place.machines == 1 and len(indices) < 2:
        return None
    if device == "mps" and processes * place.machines > 1:
        raise ConfigError("mps is one device", "--device", device, "leave out the flags that ask for more processes")
    _check_count(processes, asked_by)
    use_cpu = _use_cpu(device, file)
    return LaunchPlan(
        processes=processes,
        gpu_ids=_gpu_ids(indices, file, processes) if not use_cpu else (),
        gpu_indices=indices,
        use_cpu=use_cpu,
        machines=place.machines,
        machine_rank=place.machine_rank,
        main_process_ip=place.main_process_ip,
        main_process_port=place.main_process_port,
        mixed_precision=file.mixed_precision if file else "no",
        connect_timeout=launch.connect_timeout,
        collective_timeout=launch.collective_timeout,
        max_restarts=launch.max_restarts,
        config_file=str(file.path) if file else "",
        asked_by=asked_by,
    )


def _check_count(processes: int, asked_by: str) -> None:
    """Check that a machine can hold so many processes: far more would bring it to a halt. Raises ConfigError."""
    most = max(LEAST_MOST_PROCESSES, PROCESSES_PER_CORE * (os.cpu_count() or 1))
    if processes > most:
        remedy = f"this machine has {os.cpu_count()} cores: give at most {most}"
        raise ConfigError("too many processes for one machine", asked_by, processes, remedy)


def device_indices(device: str) -> tuple[int, ...]:
    """Return the numbers of the GPUs that `--device` names, () when it names none.

    Raises:
        ConfigError: a GPU is named twice.
    """
    text = device.removeprefix("cuda:")
    if not text[:1].isdecimal():
        return ()
    indices = tuple(int(number) for number in text.split(","))
    if len(set(indices)) < len(indices):
        raise ConfigError("a GPU is named twice", "--device", device, "each process needs one of its own")
    return indices


def visible_names(indices: tuple[int, ...], device: str = "") -> tuple[str, ...]:
    """Return the value of CUDA_VISIBLE_DEVICES that leaves only these GPUs, counted among those visible now.

    Raises:
        ConfigError: fewer GPUs are visible.
    """
    visible = os.environ.get(VISIBLE_GPUS)
    if visible is None:
        return tuple(str(index) for index in indices)
    names = [name.strip() for name in visible.split(",") if name.strip()]
    if indices and max(indices) >= len(names):
        shown = device or ",".join(map(str, indices))
        remedy = f"{VISIBLE_GPUS}={visible} leaves {len(names)}, counted from 0"
        raise ConfigError("no such CUDA device", "--device", shown, remedy)
    return tuple(names[index] for index in indices)


class _Place:
    """Where this machine stands among the machines: flags over file over defaults."""

    def __init__(self, launch: LaunchConfig, typed: Collection[str] | None) -> None:
        defaults = defaults_of(LaunchConfig)
        self._typed = {name for name in defaults if getattr(launch, name) != defaults[name]} if typed is None else typed
        self.machines, self.machine_rank = launch.machines, launch.machine_rank
        self.main_process_ip, self.main_process_port = launch.main_process_ip, launch.main_process_port
        self.file: AccelerateFile | None = None

    def fill_from(self, file: AccelerateFile) -> None:
        """Take from a file what was not typed."""
        self.file = file
        for name in ("machines", "machine_rank", "main_process_ip", "main_process_port"):
            if name not in self._typed:
                setattr(self, name, getattr(file, name))

    def where(self, name: str, key: str) -> str:
        """Return the flag or the file's key that gave a value."""
        if self.file is None or name in self._typed:
            return flag_of(name)
        return f"{self.file.label}, key '{key}'"


def _check_place(place: _Place) -> None:
    if place.machine_rank >= place.machines:
        where = place.where("machine_rank", "machine_rank")
        last = place.machines - 1
        remedy = f"the {place.machines} machines are numbered 0 to {last}" if last else "there is one machine, number 0"
        raise ConfigError("no such machine", where, place.machine_rank, f"{remedy} (--machines says how many)")
    if place.machines == 1:
        return
    if not place.main_process_ip:
        remedy = "give the address of machine 0, the same on all machines"
        raise ConfigError(f"no address for {place.machines} machines", "--main-process-ip", None, remedy)
    if place.main_process_port == 0:
        where = place.where("main_process_port", "main_process_port")
        remedy = "give one port of machine 0 to all machines, such as 29500"
        raise ConfigError(f"no common port for {place.machines} machines", where, 0, remedy)


def _processes(
    launch: LaunchConfig, place: _Place, device: str, indices: tuple[int, ...], file: AccelerateFile | None
) -> tuple[int, str]:
    """Return how many processes to start here, and who says so."""
    answers: list[tuple[str, int]] = []
    if file is not None:
        if file.total % place.machines:
            remedy = "num_processes counts all machines together and each gets the same number"
            where = f"{file.label}, key 'num_processes'"
            shown = f"{file.total} on {place.machines} machines"
            raise ConfigError("processes do not divide among the machines", where, shown, remedy)
        answers.append((file.label, file.total // place.machines))
    if launch.processes:
        answers.append(("--processes", launch.processes))
    if indices:
        answers.append((f"--device {device}", len(indices)))
    for who, count in answers[1:]:
        first, expected = answers[0]
        if count != expected:
            shown = f"{expected} and {count}"
            raise ConfigError("two answers to how many processes", f"{first} and {who}", shown, "leave one of them out")
    return (answers[0][1], answers[0][0]) if answers else (1, "--machines")


def _use_cpu(device: str, file: AccelerateFile | None) -> bool | None:
    if device == "cpu":
        return True
    if file is not None and file.use_cpu:
        if device:
            raise ConfigError(f"{file.label} says use_cpu", "--device", device, "leave one of them out")
        return True
    wants_gpu: Any = device.startswith("cuda") or device[:1].isdecimal() or (file is not None and file.asks_for_gpus)
    return False if wants_gpu else None


def _gpu_ids(indices: tuple[int, ...], file: AccelerateFile | None, processes: int) -> tuple[str, ...]:
    if indices:
        return visible_names(indices)
    ids = file.gpu_ids if file else ()
    if file and ids and len(ids) < processes:
        where, remedy = f"{file.label}, key 'gpu_ids'", f"each of the {processes} processes needs one of its own"
        raise ConfigError("too few GPUs", where, ",".join(ids), remedy)
    return ids[:processes]
