"""Who this process is, according to whatever started it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path

from accel_yolo.config.launch_schema import starts_one_process
from accel_yolo.errors import ConfigError
from accel_yolo.lifeline import end_with_parent

Environment = MutableMapping[str, str]

OURS = "accel-yolo"
"""How our own launcher is called among the launchers."""

LAUNCH_DIR = "ACCEL_YOLO_LAUNCH_DIR"
"""Set by our own launcher: the folder where its processes leave what they have to say."""

SEARCHED_BY = "ACCEL_YOLO_SEARCHED_BY"
"""Set for a trial of a search: the process that started it and must not be outlived."""

LAUNCHER = "ACCEL_YOLO_LAUNCHER"
"""Set by our own launcher: its process id."""

ORPHAN_S = 8.0
"""How long a process may take to save what it has done after its launcher has gone."""

DEFAULT_PORT = 29500
_DERIVED_PORTS = range(20000, 32000)  # below the ports that the kernel hands out for outgoing connections


@dataclass(frozen=True)
class Launched:
    """The place of this process among all that belong to its run.

    Attributes:
        rank, size: number of this process from 0, and of all.
        local_rank, local_size: the same on this machine.
        machine, machines: number of this machine from 0, and of all.
        launcher: "" (none), "accel-yolo", "torchrun", "accelerate", "slurm", "mpi" or "environment".
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    machine: int = 0
    machines: int = 1
    launcher: str = ""


def adopt_launch(environment: Environment | None = None) -> Launched:
    """Return who this process is, and give the variables that torch and Accelerate read where they are missing.

    Calling it again gives the same answer.

    Args:
        environment: what to read and to complete; `os.environ` when None.

    Raises:
        ConfigError: the variables contradict each other, or the launcher meant several processes but started one.
    """
    env = os.environ if environment is None else environment
    launched = _launched(env)
    if launched.size > 1:
        address = "127.0.0.1" if launched.machines == 1 else _first_host(launched, env)
        names = {
            "RANK": launched.rank,
            "WORLD_SIZE": launched.size,
            "LOCAL_RANK": launched.local_rank,
            "LOCAL_WORLD_SIZE": launched.local_size,
            "MASTER_ADDR": address,
            "MASTER_PORT": _common_port(env),
        }
        for name, value in names.items():
            env.setdefault(name, str(value))
    return launched


def die_with_launcher() -> None:
    """End this process when its launcher, or the search that it is a trial of, ends, however that ends; else nothing.

    Without this, processes go on alone after their launcher was killed.
    """
    # Popped: what this process starts is not the trial, and has another parent.
    named = [parent for name in (SEARCHED_BY, LAUNCHER) if (parent := os.environ.pop(name, ""))]
    if named or "TORCHELASTIC_RUN_ID" in os.environ or "ACCELERATE_MIXED_PRECISION" in os.environ:
        # The signal asks a training to save and to end; the time limit holds for one that cannot.
        end_with_parent(signal.SIGTERM, within_s=ORPHAN_S)
        if any(str(os.getppid()) != parent for parent in named) or (sys.platform == "linux" and _is_orphan()):
            sys.exit(128 + signal.SIGTERM)


def _launched(env: Environment) -> Launched:
    if "TORCHELASTIC_RUN_ID" in env:
        return _from_elastic(env)
    managed = _from_slurm(env) or _from_mpi(env)
    plain = _from_plain(env, managed)
    # What is spelled out is meant; the same words were put there by an earlier call.
    if plain is not None and managed is not None and (plain.rank, plain.size) == (managed.rank, managed.size):
        return managed
    if plain is not None or managed is not None:
        return plain or managed or Launched()
    if "MASTER_ADDR" in env and env.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes"):
        raise starts_one_process("distributed_type")
    return Launched(launcher="accelerate" if "ACCELERATE_MIXED_PRECISION" in env else "")


def _from_elastic(env: Environment) -> Launched:
    """Torchrun's agent, which also works inside `accelerate launch` and our own launcher; it names everything."""
    foreign = "accelerate" if "ACCELERATE_MIXED_PRECISION" in env else "torchrun"
    launcher = OURS if LAUNCH_DIR in env else foreign
    return _checked(
        Launched(
            _number(env, "RANK"),
            _number(env, "WORLD_SIZE"),
            _number(env, "LOCAL_RANK"),
            _number(env, "LOCAL_WORLD_SIZE"),
            _number(env, "GROUP_RANK", 0),
            _number(env, "GROUP_WORLD_SIZE", 1),
            launcher,
        )
    )


def _from_slurm(env: Environment) -> Launched | None:
    """Several tasks of one `srun`. What a batch script sees of its own allocation (SLURM_NTASKS) starts nothing."""
    size = _number(env, "SLURM_STEP_NUM_TASKS", 1)
    if size == 1:
        return None
    machine = _number(env, "SLURM_NODEID", 0)
    per_machine = _repeated(env.get("SLURM_STEP_TASKS_PER_NODE", ""))
    local_rank = _number(env, "SLURM_LOCALID")
    local_size = per_machine[machine] if machine < len(per_machine) else local_rank + 1
    machines = _number(env, "SLURM_STEP_NUM_NODES", len(per_machine) or 1)
    rank = _number(env, "SLURM_PROCID")
    return _checked(Launched(rank, size, local_rank, local_size, machine, machines, "slurm"))


_MPI_FAMILIES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
)


def _from_mpi(env: Environment) -> Launched | None:
    for rank_name, size_name, local_rank_name, local_size_name in _MPI_FAMILIES:
        size = _number(env, size_name, 1)
        if size == 1:
            continue
        rank = _number(env, rank_name)
        local_rank = _number(env, local_rank_name, rank)
        local_size = _number(env, local_size_name, size)
        machines = -(-size // local_size)
        # MPI numbers processes machine by machine or in turns; it does not say which, the local number does.
        in_turns = rank % local_size != local_rank and rank // machines == local_rank
        machine = rank % machines if in_turns else rank // local_size
        return _checked(Launched(rank, size, local_rank, local_size, machine, machines, "mpi"))
    return None


def _from_plain(env: Environment, managed: Launched | None) -> Launched | None:
    """RANK and WORLD_SIZE, set by hand or by an operator such as Kubernetes' PyTorchJob."""
    size = _number(env, "WORLD_SIZE", 0)
    if "RANK" not in env or size == 0:
        if size > 1 and managed is None:
            remedy = "set RANK too (0 to WORLD_SIZE - 1), or start with a launcher such as torchrun"
            raise ConfigError("RANK is missing beside WORLD_SIZE", "the environment", size, remedy)
        if size > 1 and managed is not None and size != managed.size:
            values = f"{managed.size} and {size}"
            raise ConfigError(
                "process counts disagree", f"{managed.launcher} and WORLD_SIZE", values, "unset WORLD_SIZE"
            )
        return None
    rank = _number(env, "RANK")
    is_here = env.get("MASTER_ADDR", "localhost") == "localhost" or env["MASTER_ADDR"].startswith(("127.", "::1"))
    # Who names no local numbers starts all processes here, or one on each machine (a pod).
    local_rank = _number(env, "LOCAL_RANK", rank if is_here else 0)
    local_size = _number(env, "LOCAL_WORLD_SIZE", size if is_here else 1)
    launched = Launched(rank, size, local_rank, local_size, launcher="environment")
    if local_size < size:
        machines = _number(env, "GROUP_WORLD_SIZE", -(-size // local_size))
        launched = replace(launched, machine=_number(env, "GROUP_RANK", rank // local_size), machines=machines)
    return _checked(launched)


def _checked(launched: Launched) -> Launched:
    """Return what was read after looking for numbers that cannot be."""
    pairs = (
        ("rank", launched.rank, launched.size),
        ("local rank", launched.local_rank, launched.local_size),
        ("machine", launched.machine, launched.machines),
        ("local process count", launched.local_size - 1, launched.size),
    )
    for name, value, count in pairs:
        if not 0 <= value < count:
            shown, remedy = f"{value} of {count}", "numbers run from 0; unset variables left by another launcher"
            raise ConfigError(f"the {name} of this process cannot be", f"what {launched.launcher} says", shown, remedy)
    return launched


def _number(env: Environment, name: str, default: int | None = None) -> int:
    text = env.get(name, "")
    if text == "" and default is not None:
        return default
    if not re.fullmatch("[0-9]+", text):
        remedy = "give a whole number, or unset the variables of this launcher"
        raise ConfigError("not a number" if text else "missing", f"the environment, {name}", text or None, remedy)
    return int(text)


def _repeated(text: str) -> list[int]:
    """Return SLURM's short form as numbers, one a machine: "2(x2),1" is [2, 2, 1]."""
    numbers: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        numbers += [int(count)] * int(times or 1)
    return numbers


def first_of_nodes(text: str) -> str:
    """Return the first host of SLURM's short form: "node[01-03,7]-ib" gives "node01-ib"."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", text)[0])


def _first_host(launched: Launched, env: Environment) -> str:
    """Return where process 0 runs, if what started the processes knows it."""
    nodes = env.get("SLURM_STEP_NODELIST", "") if launched.launcher == "slurm" else ""
    address = env.get("MASTER_ADDR") or first_of_nodes(nodes)
    if not address:
        remedy = "export MASTER_ADDR, the address of the machine of process 0, and MASTER_PORT, to all of them"
        raise ConfigError("nothing says where process 0 runs", f"what {launched.launcher} set", remedy=remedy)
    return address


def _common_port(env: Environment) -> int:
    """Return a port that all processes of a job find without talking, different from those of other jobs."""
    readers: tuple[tuple[str, Callable[[str], int]], ...] = (
        ("SLURM_JOB_ID", lambda text: 17 * int(text) + int(env.get("SLURM_STEP_ID") or 0)),
        ("PMIX_NAMESPACE", _letters_added),
        ("OMPI_MCA_ess_base_jobid", _letters_added),
        ("PMI_JOBID", _letters_added),
    )
    for name, read in readers:
        if env.get(name):
            return _DERIVED_PORTS[read(env[name]) % len(_DERIVED_PORTS)]
    return DEFAULT_PORT


def _letters_added(text: str) -> int:
    return int.from_bytes(text.encode(), "big")


def _is_orphan() -> bool:
    """Return whether this process has been handed to the first process of the system, and that is no launcher."""
    if os.getppid() != 1:
        return False
    # In a container the launcher may be process 1 itself.
    try:
        command = Path("/proc/1/cmdline").read_bytes()
    except OSError:
        return True
    return not any(word in command for word in (b"python", b"torchrun", b"accel"))
