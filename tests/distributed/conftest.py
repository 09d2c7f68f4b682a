"""Real processes over gloo, started warm: a server process has imported torch already, so a job starts in a moment."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

JOB_TIMEOUT_S = 300


@pytest.fixture(scope="session")
def run_processes() -> Callable[..., list[Any]]:
    """Return a function that calls `job(*arguments)` in `size` processes of one world and returns their results."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["accel_yolo.engine.train", "accel_yolo.engine.validate"])

    def run(size: int, job: Callable[..., Any], *arguments: Any) -> list[Any]:
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

    return run


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


@pytest.fixture(scope="session")
def sparse_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data YAML of 26 small images, three of four of them without objects: some shares of a batch are empty."""
    root = tmp_path_factory.mktemp("sparse")
    rng = np.random.default_rng(5)
    for split, count in (("train", 26), ("val", 9)):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for number in range(count):
            height, width = (int(side) for side in rng.integers(48, 97, 2))
            image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            rows = []
            if number % 4 == 0:
                for _ in range(int(rng.integers(1, 6))):
                    box_w, box_h = rng.uniform(0.15, 0.6, 2)
                    cx, cy = rng.uniform(box_w / 2, 1 - box_w / 2), rng.uniform(box_h / 2, 1 - box_h / 2)
                    rows.append(f"{rng.integers(3)} {cx:.6f} {cy:.6f} {box_w:.6f} {box_h:.6f}")
                    top, left = int((cy - box_h / 2) * height), int((cx - box_w / 2) * width)
                    image[top : top + int(box_h * height), left : left + int(box_w * width)] = 200
            cv2.imwrite(str(root / "images" / split / f"{number:03d}.png"), image)
            (root / "labels" / split / f"{number:03d}.txt").write_text("\n".join(rows))
    data = root / "data.yaml"
    data.write_text(f"path: {root}\ntrain: images/train\nval: images/val\nnames: [a, b, c]\n")
    return data
