"""Trainings in processes that are started warm, as a scheduler starts them, and watched until all are gone."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from namespaces import Machine, enter
from processes import PRELOADED, as_started_by_hand

from accel_yolo.engine.network import free_port

BEGUN_WITHIN_S, GONE_WITHIN_S = 120.0, 20.0
PORT = 29531  # nobody else is in the network of such a machine


@dataclass
class Watched:
    """A run.

    Attributes:
        processes: by their number in it.
        folder: the folder of the run.
        outputs: what each of them writes.
    """

    processes: list[BaseProcess]
    folder: Path
    outputs: list[Path]

    def pid(self, rank: int) -> int:
        """Return the process id of a process of the run."""
        pid = self.processes[rank].pid
        assert pid is not None
        return pid

    def text(self, rank: int | None = None) -> str:
        """Return what a process has written, or all of them."""
        paths = self.outputs if rank is None else [self.outputs[rank]]
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    def errors(self, rank: int | None = None) -> list[str]:
        """Return the error lines."""
        return [line for line in self.text(rank).splitlines() if line.startswith("error: ")]

    def until(self, holds: Callable[[], Any], within_s: float = BEGUN_WITHIN_S) -> Any:
        """Wait until something holds and return it."""
        end_s = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < end_s, self.text()
            time.sleep(0.02)
        return found

    def ends(self, within_s: float = BEGUN_WITHIN_S) -> list[int | None]:
        """Wait for the end of all and return their exit statuses."""
        self.until(lambda: not any(process.is_alive() for process in self.processes), within_s)
        return [process.exitcode for process in self.processes]

    def end_all(self) -> None:
        """End what is left."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join()

    @property
    def failure(self) -> dict[str, Any]:
        """What the run folder says of the failure."""
        return json.loads((self.folder / "failure.json").read_text())


def train_words(data: Path, project: Path, *more: str) -> list[str]:
    """Return the flags of a bit-exact training of three epochs of three updates, in the folder `exp` of a project."""
    return [
        "--data", str(data), "--weights", "", "--cfg", "yolov5n.yaml", "--imgsz", "64", "--batch", "8",
        "--nominal-batch", "8", "--epochs", "3", "--workers", "0", "--noautoanchor", "--noplots", "--device", "cpu",
        "--bit-exact", "--micro-batch", "2", "--noval", "--project", str(project), "--name", "exp",
        "--no-preflight", *more,
    ]  # fmt: skip


def begin(size: int, words: Sequence[str], folder: Path, machines: Sequence[Machine] = (), **variables: str) -> Watched:
    """Start a training in `size` processes, on this machine or spread over two others.

    Args:
        size: processes of the run.
        words: its flags.
        folder: where its processes write their outputs; `exp` in it is taken for the folder of the run.
        machines: where they run; () for here.
        variables: of their environment.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    port = PORT if machines else free_port()
    processes, outputs = [], []
    for rank in range(size):
        here = size // len(machines) if machines else size
        environment = {
            "RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank % here, "LOCAL_WORLD_SIZE": here,
            "GROUP_RANK": rank // here, "GROUP_WORLD_SIZE": size // here, "MASTER_PORT": port,
            "MASTER_ADDR": machines[0].address if machines else "127.0.0.1", **variables,
        }  # fmt: skip
        place = (machines[rank // here].holder, machines[rank // here].disk) if machines else None
        outputs.append(folder / f"output-{rank}.txt")
        told = {name: str(value) for name, value in environment.items()}
        processes.append(context.Process(target=_train, args=(told, place, outputs[-1], list(words))))
    for process in processes:
        process.start()
    return Watched(processes, folder / "exp", outputs)


def _train(variables: dict[str, str], place: tuple[int, Path] | None, output: Path, words: list[str]) -> None:
    with output.open("wb") as stream:  # before the machine is entered: outside, it can be read
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    os.environ.update(OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="true", PYTHONUNBUFFERED="1", **variables)
    if place is not None:
        enter(*place)
    as_started_by_hand()
    import torch

    from accel_yolo.cli import run

    torch.set_num_threads(1)
    sys.argv = ["train.py", *words]
    code = run("train", words)
    sys.stdout.flush()
    raise SystemExit(code)
