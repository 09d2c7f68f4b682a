"""Our own launcher: what the processes of a plan need, their start, and the last word."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import check_cuda_p2p_ib_support

from accel_yolo import console
from accel_yolo.config.accelerate_command import accelerate_command
from accel_yolo.config.launching import VISIBLE_GPUS, LaunchPlan
from accel_yolo.devices import no_such_device
from accel_yolo.engine import stacks
from accel_yolo.engine.failures import Failure, details, leave
from accel_yolo.engine.launch_folder import launch_folder
from accel_yolo.engine.launched import LAUNCH_DIR
from accel_yolo.engine.network import require_free_port
from accel_yolo.engine.signals import Signals
from accel_yolo.engine.stores import open_store
from accel_yolo.engine.supervisor import HERE, Supervisor
from accel_yolo.errors import ConfigError


def launch(plan: LaunchPlan, command: str, words: Sequence[str], announce: bool = True) -> int:
    """Run a command of accel-yolo in the processes of a plan and return the exit status of the run.

    Args:
        plan: what to start.
        command: train, val, check, ...
        words: its flags, as the user typed them; the processes read them again.
        announce: say how to start the same with Accelerate.

    Raises:
        ConfigError: the GPUs are not there.
        EnvironmentFault: the port of machine 0 is taken.
        PeerError: the other machines did not come.
    """
    plan = settled(plan)
    if announce:
        console.note(f"the same with Accelerate: {accelerate_command(plan, command, words)}")
    # From here on signals are noted and obeyed in order: they leave no folder behind.
    with Signals() as signals, launch_folder() as folder, _environment(environment_of(plan, folder)):
        return _run(plan, ["-m", "accel_yolo", command, *words], folder, signals)


def settled(plan: LaunchPlan) -> LaunchPlan:
    """Return the plan with CPU or GPUs decided, after a look at the GPUs of this machine.

    Raises:
        ConfigError: GPUs that are not there, or fp16 on a CPU.
    """
    use_cpu = plan.use_cpu
    if use_cpu is None:
        use_cpu = not plan.is_alone and torch.cuda.device_count() == 0
    elif not use_cpu:
        _require_gpus(plan)
    if not use_cpu and not plan.is_alone and not plan.gpu_ids:
        _require_enough(plan.processes, plan.asked_by)
    is_on_cpu = use_cpu or (torch.cuda.device_count() == 0 and not torch.backends.mps.is_available())
    if plan.mixed_precision == "fp16" and is_on_cpu:
        where, remedy = f"{plan.config_file}, key 'mixed_precision'", "use bf16 or 'no', or a GPU"
        raise ConfigError("fp16 does not work on a CPU", where, "fp16", remedy)
    return replace(plan, use_cpu=use_cpu)


def environment_of(plan: LaunchPlan, folder: Path | None = None) -> dict[str, str]:
    """Return the variables that the processes of a settled plan need besides those of torch's agent.

    Args:
        plan: what is started.
        folder: where they leave word for the launcher; None when there is none, but this process is the run.
    """
    variables: dict[str, str] = {}
    if folder is not None or plan.mixed_precision != "no":
        variables["ACCELERATE_MIXED_PRECISION"] = plan.mixed_precision
    if folder is not None and plan.use_cpu:
        variables["ACCELERATE_USE_CPU"] = "true"
    if not plan.use_cpu and torch.cuda.is_available() and not check_cuda_p2p_ib_support():
        variables["NCCL_P2P_DISABLE"] = variables["NCCL_IB_DISABLE"] = "1"  # as `accelerate launch` does
    # A single process makes the GPU that `--device` names visible itself.
    if plan.gpu_ids and not (plan.is_alone and plan.gpu_indices):
        variables[VISIBLE_GPUS] = ",".join(plan.gpu_ids)
    if folder is None:
        return variables
    # More threads than cores slow everything down. What torch would use alone is shared among the processes.
    threads = max(1, torch.get_num_threads() // plan.processes)
    variables["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    variables["PYTHONUNBUFFERED"] = "1"
    variables[LAUNCH_DIR] = str(folder)
    return {**variables, **findable()}


def findable() -> dict[str, str]:
    """Return the variables by which a process started from any folder finds this package: none if it is installed."""
    package = Path(__file__).resolve().parents[2]
    if package.name in ("site-packages", "dist-packages"):
        return {}
    earlier = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{package}{os.pathsep}{earlier}" if earlier else str(package)}


def _require_gpus(plan: LaunchPlan) -> None:
    found = torch.cuda.device_count()
    if plan.gpu_indices:
        if max(plan.gpu_indices) >= found:
            raise no_such_device(",".join(map(str, plan.gpu_indices)), found)
    elif plan.gpu_ids:  # of a file: counted by the driver, whatever this process may see
        with _environment({}, without=(VISIBLE_GPUS,)):
            found = torch.cuda.device_count()
        missing = [name for name in plan.gpu_ids if int(name) >= found]
        if missing and found:
            where = f"{plan.asked_by}, key 'gpu_ids'"
            raise ConfigError("no such CUDA device", where, ",".join(missing), f"{found} found, counted from 0")
    if found == 0:
        raise ConfigError(f"{plan.asked_by} asks for GPUs and this machine has none", remedy=_no_gpu_remedy(plan))


def _no_gpu_remedy(plan: LaunchPlan) -> str:
    if plan.asked_by.startswith("--device"):
        return "use --device cpu"
    shipped = "cpu.yaml" if plan.is_alone else "2cpu.yaml"
    return f"use {shipped} or --device cpu"


def _require_enough(processes: int, asked_by: str) -> None:
    found = torch.cuda.device_count()
    if processes > found:
        remedy = f"{found} found: start at most {found}, or use --device cpu"
        raise ConfigError("more processes than GPUs", asked_by, processes, remedy)


def _run(plan: LaunchPlan, arguments: Sequence[str], folder: Path, signals: Signals) -> int:
    """Start the processes, wait for their end and return the exit status after the last word."""
    store = None
    if plan.machine_rank == 0:
        if plan.main_process_port:
            require_free_port(plan.main_process_ip or HERE, plan.main_process_port, "--main-process-port")
        store = open_store(plan.main_process_ip if plan.machines > 1 else "", plan.main_process_port)
    supervisor = Supervisor(plan, arguments, folder, store, signals)
    ending = supervisor.run()
    if ending.failure is not None:
        _speak(ending.failure, supervisor.run_folder)
    return ending.code


def _speak(failure: Failure, run: Path | None) -> None:
    """Say how the run ended, last, and keep it in the folder of the run if that is on this machine."""
    here = run if run is not None and run.is_dir() else None
    # The process that speaks may have been ended in the middle of a line: its progress bar.
    _last_word(failure.message, after_line=failure.rank > 0 and not failure.has_begun)
    for line in details(failure, here):
        console.error_detail(line)
    if here is not None:
        for path in here.glob(stacks.name_of("*")):
            stacks.remove_empty(path)
        leave(failure, here, first_word_counts=False)


def _last_word(message: str, *, after_line: bool) -> None:
    if not after_line and sys.stderr.isatty():  # elsewhere all that is said is whole lines
        print(file=sys.stderr, flush=True)
    console.error_line(message)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str], without: Sequence[str] = ()) -> Iterator[None]:
    """Set variables for what is started in the block, and put the earlier ones back."""
    earlier = dict(os.environ)
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(earlier)
