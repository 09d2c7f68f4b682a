"""Real processes over gloo, started warm: a server process has imported torch already, so a job starts in a moment."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
from namespaces import Machine, enter, two_machines

from accel_yolo.engine.network import free_port

JOB_TIMEOUT_S = float(os.environ.get("ACCEL_YOLO_JOB_TIMEOUT_S", "300"))
PRELOADED = [
    "accel_yolo.engine.train", "accel_yolo.engine.validate", "accel_yolo.reports.html.report", "torch._dynamo",
    "matplotlib.figure", "matplotlib.backends.backend_agg",
]  # fmt: skip
"""Modules that every process of a job finds imported. One of torch costs seconds; the first optimizer asks for it."""

_PORT_OF_MACHINE_ZERO = 29500  # nobody else is in its network


def run_in_processes(size: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `job(*arguments)` in `size` processes of one world and return their results."""
    if size == 1:
        return _run([({}, None)], job, arguments)
    port = free_port()
    return _run([(_variables(rank, size, rank, size, "127.0.0.1", port), None) for rank in range(size)], job, arguments)


def run_on_machines(machines: int, processes: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `job(*arguments)` in `processes` processes on each of two machines and return their results, by rank.

    The machines have networks, host names and /etc/hosts of their own; see `namespaces.two_machines`.
    """
    assert machines == 2, "a cable has two ends"
    with tempfile.TemporaryDirectory() as folder, two_machines(Path(folder) / "machines") as made:
        return run_on(made, processes, job, *arguments)


def run_on(machines: Sequence[Machine], processes: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """As `run_on_machines`, on machines that are there already."""
    size, address = len(machines) * processes, machines[0].address
    places = []
    for machine in machines:
        for local_rank in range(processes):
            rank = machine.number * processes + local_rank
            variables = _variables(rank, size, local_rank, processes, address, _PORT_OF_MACHINE_ZERO)
            variables |= {"GROUP_RANK": str(machine.number), "GROUP_WORLD_SIZE": str(len(machines))}
            places.append((variables, (machine.holder, Path.cwd())))
    return _run(places, job, arguments)


Place = tuple[dict[str, str], tuple[int, Path] | None]
"""Environment variables of a process; and the holder of its machine and a folder there, None for this machine."""


def as_started_by_hand() -> None:
    """Have this process start its own as a program does: from the process that started it, it has another way."""
    multiprocessing.set_start_method(None, force=True)


def warm_context() -> ForkServerContext:
    """Return the context whose processes begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(places: Sequence[Place], job: Callable[..., Any], arguments: tuple) -> list[Any]:
    context = warm_context()
    pipes = [context.Pipe(duplex=False) for _ in places]
    processes = [
        context.Process(target=_process, args=(place, pipe[1], job, arguments), daemon=False)
        for place, pipe in zip(places, pipes, strict=True)
    ]
    try:
        for process in processes:
            process.start()
        return [_result(rank, receiver) for rank, (receiver, _) in enumerate(pipes)]
    finally:
        for process in processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()


@dataclass(frozen=True)
class Gone:
    """How a process ended that may have been killed.

    Attributes:
        code: exit status, negative for a signal.
        value: what its job returned; None if it did not.
        after_s: seconds from the first end of a process to this one's.
    """

    code: int
    value: Any
    after_s: float


def run_until_gone(size: int, job: Callable[..., Any], *arguments: Any) -> list[Gone]:
    """Call `job(*arguments)` in `size` processes of one world, some of which may be killed; return how they ended."""
    port, context = free_port(), warm_context()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    places = [
        ({} if size == 1 else _variables(rank, size, rank, size, "127.0.0.1", port), None) for rank in range(size)
    ]
    processes = [
        context.Process(target=_process, args=(place, pipe[1], job, arguments), daemon=False)
        for place, pipe in zip(places, pipes, strict=True)
    ]
    ended_s, values = {}, {}
    try:
        for process, (_, sender) in zip(processes, pipes, strict=True):
            process.start()
            sender.close()  # so that the end of the process is the end of the pipe
        until_s = time.monotonic() + JOB_TIMEOUT_S
        while len(ended_s) < size:
            assert time.monotonic() < until_s, f"processes {sorted(set(range(size)) - ended_s.keys())} do not end"
            for rank, process in enumerate(processes):
                receiver = pipes[rank][0]
                with contextlib.suppress(EOFError, OSError):
                    if rank not in values and receiver.poll(0.005):
                        values[rank] = receiver.recv()[1]
                if rank not in ended_s and not process.is_alive():
                    ended_s[rank] = time.monotonic()
    finally:
        for process in processes:
            process.kill()
            process.join()
    first_s = min(ended_s.values())
    return [
        Gone(process.exitcode or 0, values.get(rank), ended_s[rank] - first_s) for rank, process in enumerate(processes)
    ]


def _result(rank: int, receiver: Connection) -> Any:
    if not receiver.poll(JOB_TIMEOUT_S):
        pytest.fail(f"process {rank} did not answer within {JOB_TIMEOUT_S} s")
    outcome, value = receiver.recv()
    if outcome == "error":
        pytest.fail(f"process {rank} failed:\n{value}")
    return value


def _process(place: Place, sender: Connection, job: Callable[..., Any], arguments: tuple) -> None:
    variables, machine = place
    os.environ.update(OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="true", **variables)
    try:
        if machine is not None:
            enter(*machine)
        as_started_by_hand()
        import torch

        torch.set_num_threads(1)
        sender.send(("value", job(*arguments)))
    except BaseException:  # the parent shows it; nothing is swallowed
        sender.send(("error", traceback.format_exc()))
        raise
    finally:
        sender.close()


def _variables(rank: int, size: int, local_rank: int, local_size: int, address: str, port: int) -> dict[str, str]:
    values = {
        "RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local_rank, "LOCAL_WORLD_SIZE": local_size,
        "MASTER_ADDR": address, "MASTER_PORT": port,
    }  # fmt: skip
    return {name: str(value) for name, value in values.items()}
