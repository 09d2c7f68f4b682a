"""What processes tell each other on the host: sums, rows, texts, bytes, and errors that stop all of them."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from accel_yolo.engine.launched import Launched
from accel_yolo.errors import StoppedByPeer, UserError

PATIENCE_S = 6 * 3600
"""How long processes wait for the one of them that verifies a large data set or fetches files."""


class Messages:
    """The processes of a run and a group of their own for control messages.

    The group is on the host: its messages never wait for the device and never mix with the gradient traffic.

    Attributes:
        rank, size: number of this process, and of all.
        local_rank, local_size: the same on this machine.
        machine, machines: number of this machine, and of all.
        launcher: what started them, see `Launched`.
        timeout_s: how long a message may take.
    """

    def __init__(self, launched: Launched, host: str, timeout_s: float) -> None:
        self.rank, self.size = launched.rank, launched.size
        self.local_rank, self.local_size = launched.local_rank, launched.local_size
        self.machine, self.machines = launched.machine, launched.machines
        self.launcher, self.timeout_s = launched.launcher, timeout_s
        self._control = _host_group(self.size, timeout_s)
        self._patient = _host_group(self.size, max(timeout_s, PATIENCE_S))
        told = (text.partition(" ") for text in self.gather_text(f"{self.machine} {host}"))
        self._places = [(int(number), name) for number, _, name in told]

    @property
    def is_leader(self) -> bool:
        """True on the one process that speaks and writes."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """True on the first process of each machine."""
        return self.local_rank == 0

    def place_of(self, rank: int) -> str:
        """Return where a process runs, for messages: "machine 1 (beta)"."""
        number, host = self._places[rank]
        return f"machine {number} ({host})"

    def start_sum(self, values: Tensor) -> PendingSum:
        """Start summing a small host tensor over all processes; wait for it later."""
        total = values.clone()
        work = dist.all_reduce(total, group=self._control, async_op=True) if self._control is not None else None
        return PendingSum(total, work)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a host tensor over all processes, on all of them."""
        return self.start_sum(values).wait()

    def sum_in_order(self, rows: list[Tensor], start: Tensor) -> Tensor:
        """Return `start` plus all rows, added one by one in the order of the processes, on all of them.

        Floating-point addition depends on its order. Here the order is that of the rows, whoever holds them, so the
        result has the same bits for any number of processes.

        Args:
            rows: [n] host tensors of this process, shaped like `start`; n may differ between processes.
            start: equal on all processes.
        """
        total = start.clone()
        if self.rank > 0:
            dist.recv(total, self.rank - 1, group=self._control)
        for row in rows:
            total += row
        if self._control is not None:
            if self.rank + 1 < self.size:
                dist.send(total, self.rank + 1, group=self._control)
            dist.broadcast(total, self.size - 1, group=self._control)
        return total

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all processes, [sum of n, C] float64, in process order, on all of them.

        Args:
            rows: [n, C] float64; n may differ between processes and be 0.
        """
        table = np.ascontiguousarray(rows, dtype=np.float64)
        pieces = [np.frombuffer(piece).reshape(-1, rows.shape[1]) for piece in self.gather_bytes(table.tobytes())]
        return np.concatenate(pieces)

    def gather_bytes(self, content: bytes) -> list[bytes]:
        """Return the bytes of all processes, in process order, on all of them; their lengths may differ."""
        if self._control is None:
            return [content]
        lengths = self.sum(torch.eye(self.size, dtype=torch.int64)[self.rank] * len(content)).tolist()
        padded = torch.zeros(max(*lengths, 1), dtype=torch.uint8)
        padded[: len(content)] = _as_tensor(content)
        pieces = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(pieces, padded, group=self._control)
        return [piece[:length].numpy().tobytes() for piece, length in zip(pieces, lengths, strict=True)]

    def gather_text(self, text: str) -> list[str]:
        """Return the texts of all processes, in process order, on all of them."""
        return [piece.decode("utf-8", "surrogateescape") for piece in self.gather_bytes(_encoded(text))]

    def share_bytes(self, content: bytes) -> bytes:
        """Return the leader's `content` on all processes; what the others pass is ignored."""
        if self._control is None:
            return content
        length = self.sum(torch.tensor([len(content) if self.is_leader else 0])).item()
        buffer = _as_tensor(content).clone() if self.is_leader else torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(buffer, 0, group=self._control)
        return buffer.numpy().tobytes()

    def share_text(self, text: str) -> str:
        """Return the leader's `text` on all processes."""
        return self.share_bytes(_encoded(text)).decode("utf-8", "surrogateescape")

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self._control is not None:
            dist.barrier(group=self._control)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a phase that can fail on one process: a user error there stops all, and is spoken once a machine.

        Raises:
            UserError: on the first process that failed, its own error; on the others `StoppedByPeer`.
        """
        failure: UserError | None = None
        try:
            yield
        except UserError as error:
            failure = error
        report = "" if failure is None else json.dumps([failure.exit_code, str(failure)])
        reports = self.gather_text(report)
        first = next((rank for rank, text in enumerate(reports) if text), None)
        if first is None:
            return
        if first == self.rank and failure is not None:
            raise failure
        code, message = json.loads(reports[first])
        stopped = StoppedByPeer(code, message if self._is_beside(first) else f"{self.place_of(first)}: {message}")
        # Somebody looks at each machine: there its first process repeats what happened on another one.
        stopped.already_reported = self._is_beside(first) or not self.is_first_here
        raise stopped from failure

    @contextlib.contextmanager
    def one_per_machine_first(self) -> Iterator[None]:
        """Run a block on one process of each machine before the others, so that they find what it prepared."""
        if not self.is_first_here:
            self._wait_patiently()
        try:
            yield
        finally:
            if self.is_first_here:
                self._wait_patiently()

    def _wait_patiently(self) -> None:
        if self._patient is not None:
            dist.barrier(group=self._patient)

    def common(self, error: UserError) -> UserError:
        """Return an error that every process raises alike, marked so that one process of each machine speaks of it."""
        error.already_reported = not self.is_first_here
        return error

    def _is_beside(self, rank: int) -> bool:
        """Return whether a process runs on this machine."""
        return self._places[rank][0] == self.machine


class PendingSum:
    """A sum on its way."""

    def __init__(self, total: Tensor, work: Any) -> None:
        self._total, self._work = total, work

    def wait(self) -> Tensor:
        """Return the sum over all processes."""
        if self._work is not None:
            self._work.wait()
        return self._total


def _host_group(size: int, timeout_s: float) -> Any:
    timeout = datetime.timedelta(seconds=timeout_s)
    return dist.new_group(backend="gloo", timeout=timeout) if size > 1 else None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
