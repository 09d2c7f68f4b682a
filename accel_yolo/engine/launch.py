"""Our own launcher: one process for each device, on Accelerate's and torchrun's own machinery, and the last word."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import check_cuda_p2p_ib_support
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig as ElasticConfig
from torch.distributed.launcher.api import elastic_launch

from accel_yolo import console
from accel_yolo.config.accelerate_command import accelerate_command
from accel_yolo.config.launching import VISIBLE_GPUS, LaunchPlan
from accel_yolo.devices import no_such_device
from accel_yolo.engine.failures import cause
from accel_yolo.engine.launched import LAUNCH_DIR
from accel_yolo.engine.network import await_machine_zero, free_port, require_free_port
from accel_yolo.errors import ConfigError, PeerError

GRACE_S = 10
"""How long processes may take to end after a signal before they are killed."""

_ATTEMPTS = 5  # another program may take a free port between our look at it and our use of it
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
_HERE = "127.0.0.1"


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
    folder = Path(tempfile.mkdtemp(prefix="accel-yolo-launch-"))
    try:
        with _environment(environment_of(plan, folder)), _undisturbed():
            return _run(plan, ["-m", "accel_yolo", command, *words], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _run(plan: LaunchPlan, arguments: Sequence[str], folder: Path) -> int:
    """Start the processes, wait for their end and return the exit status after the last word."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            elastic_launch(_elastic_config(plan, folder), sys.executable)(*arguments)
            return 0
        except ChildFailedError as error:
            in_time = sorted(error.failures.items(), key=lambda item: item[1].timestamp)
            exit_codes = {rank: failure.exitcode for rank, failure in in_time}
            code, message = cause(folder, exit_codes)
            # The process that speaks may have been ended in the middle of a line: its progress bar.
            _last_word(message, after_line=plan.machine_rank > 0 or exit_codes.get(0, -1) > 0)
            return code
        except SignalException as error:
            number = signal.Signals(error.sigval)
            is_keyboard = number == signal.SIGINT
            _last_word("interrupted" if is_keyboard else f"stopped by {number.name}", after_line=is_keyboard)
            return 128 + number
        except (RuntimeError, OSError) as error:  # of the meeting; what happens in the processes is told above
            is_taken = "EADDRINUSE" in str(error) or "address already in use" in str(error).lower()
            if is_taken and plan.main_process_port == 0 and attempt < _ATTEMPTS:
                continue
            place = f"{plan.main_process_ip or _HERE}:{plan.main_process_port}"
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise PeerError(
                "the machines did not meet", place, reason, "start all of them, with one address"
            ) from error
    raise AssertionError("the last attempt returns or raises")


def _elastic_config(plan: LaunchPlan, folder: Path) -> ElasticConfig:
    address, port = plan.main_process_ip or _HERE, plan.main_process_port or free_port()
    if plan.main_process_port:
        if plan.machine_rank == 0:
            require_free_port(address, port, "--main-process-port")
        else:
            await_machine_zero(address, port, plan.connect_timeout)
    return ElasticConfig(
        min_nodes=plan.machines,
        max_nodes=plan.machines,
        nproc_per_node=plan.processes,
        # Equal on all machines, because it names the keys under which they find each other.
        run_id=f"{address}:{port}" if plan.machines > 1 else uuid.uuid4().hex,
        rdzv_backend="static",
        rdzv_endpoint=f"{address}:{port}",
        rdzv_configs={"rank": plan.machine_rank, "timeout": plan.connect_timeout},
        max_restarts=0,
        monitor_interval=0.1,
        signals_to_handle=",".join(_heeded()),
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "agent")),
    )


def _heeded() -> list[str]:
    """Return the signals that end a run here; `nohup` has one ignored, and it stays so."""
    here = [name for name in _SIGNALS if hasattr(signal, name)]
    return [name for name in here if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]


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
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE_S))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(earlier)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Silence the log of torch's agent, and put back the signal handlers that it installs."""
    level, handlers = (
        logging.root.manager.disable,
        {name: signal.getsignal(getattr(signal, name)) for name in _heeded()},
    )
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
        for name, handler in handlers.items():
            signal.signal(getattr(signal, name), handler)
