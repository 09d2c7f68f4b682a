"""Real processes over gloo, started warm: a server process has imported torch already, so a job starts in a moment."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

JOB_TIMEOUT_S = 300


def run_in_processes(size: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `job(*arguments)` in `size` processes of one world and return their results."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accel_yolo.engine.train", "accel_yolo.engine.validate"])
    port = _free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_process, args=(rank, size, port, pipes[rank][1], job, arguments), daemon=False)
        for rank in range(size)
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


def _result(rank: int, receiver: Connection) -> Any:
    if not receiver.poll(JOB_TIMEOUT_S):
        pytest.fail(f"process {rank} did not answer within {JOB_TIMEOUT_S} s")
    outcome, value = receiver.recv()
    if outcome == "error":
        pytest.fail(f"process {rank} failed:\n{value}")
    return value


def _process(rank: int, size: int, port: int, sender: Connection, job: Callable[..., Any], arguments: tuple) -> None:
    os.environ.update(OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="true")
    if size > 1:
        os.environ.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            LOCAL_WORLD_SIZE=str(size),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
        )
    import torch

    torch.set_num_threads(1)
    try:
        sender.send(("value", job(*arguments)))
    except BaseException:  # the parent shows it; nothing is swallowed
        sender.send(("error", traceback.format_exc()))
        raise
    finally:
        sender.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
