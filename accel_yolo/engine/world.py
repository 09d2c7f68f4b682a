"""World: who this process is, and everything that crosses process borders."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import Tensor, nn

from accel_yolo import console
from accel_yolo.engine.device import choose_device, choose_precision, launched_processes
from accel_yolo.errors import EnvironmentFault, PeerError, StoppedByPeer, UserError

# Exactly 600 s would be dropped by Accelerate, which passes on only what differs from its own default.
COLLECTIVE_TIMEOUT_S = 601


class World:
    """All processes of a run, seen from one of them. Code outside `engine` never asks for a rank."""

    def __init__(self, accelerator: Accelerator, precision: str) -> None:
        self._accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.size: int = accelerator.num_processes
        self.device: torch.device = accelerator.device
        self.precision = precision
        # Control messages travel on a group of their own, on the host: they never wait for the device and never
        # mix with the gradient traffic.
        timeout = datetime.timedelta(seconds=COLLECTIVE_TIMEOUT_S)
        self._control: Any = dist.new_group(backend="gloo", timeout=timeout) if self.size > 1 else None

    @classmethod
    def start(cls, device: str = "", precision: str = "auto") -> World:
        """Return the world of this process; every launch form ends here.

        Args:
            device: "", "cpu", "mps" or one CUDA index.
            precision: "auto", "fp32", "fp16" or "bf16".

        Raises:
            ConfigError: device, precision and launcher contradict each other.
            EnvironmentFault: the launcher started processes that cannot see each other.
        """
        with spoken_once():
            expected = launched_processes()
            on_cpu = choose_device(device)
            chosen = choose_precision(precision, on_cpu)
        handlers: list[Any] = [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
        if expected > 1:  # alone, Accelerate takes this handler for the wish to be distributed
            timeout = datetime.timedelta(seconds=COLLECTIVE_TIMEOUT_S)
            handlers.append(InitProcessGroupKwargs(backend="gloo" if on_cpu else "nccl", timeout=timeout))
        mixed_precision = "no" if chosen == "fp32" else chosen
        accelerator = Accelerator(cpu=on_cpu, mixed_precision=mixed_precision, kwargs_handlers=handlers)
        with spoken_once():
            if accelerator.num_processes != expected:
                what = f"the launcher started {expected} processes but they found {accelerator.num_processes}"
                remedy = "use one of accelerate_configs/*.yaml with `accelerate launch --config_file`"
                raise EnvironmentFault(what, "start of the run", remedy=remedy)
        world = cls(accelerator, chosen)
        if not world.is_leader:
            console.quiet()
        return world

    @property
    def is_leader(self) -> bool:
        """True on the one process that speaks and writes."""
        return self.rank == 0

    @property
    def local_size(self) -> int:
        """Processes on this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE", self.size))

    def describe(self) -> str:
        """Return one line: processes, device and precision."""
        processes = "1 process" if self.size == 1 else f"{self.size} processes"
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{processes} on {name}, {self.precision}, {torch.get_num_threads()} threads each"

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Return model and optimizer ready for this world (DDP, autocast, loss scaler)."""
        prepared, prepared_optimizer = self._accelerator.prepare(model, optimizer)
        # Buffers are averaged at updates instead (see `average_buffers`): DDP must neither copy nor wait for them.
        # The attribute is set after construction because the keyword also skips the first, wanted, synchronisation.
        for name in ("forward_sync_buffers", "broadcast_buffers"):
            if self.size > 1 and hasattr(prepared, name):
                setattr(prepared, name, False)
                break
        return prepared, prepared_optimizer

    @contextlib.contextmanager
    def gradient_sync(self, model: nn.Module, *, on: bool) -> Iterator[None]:
        """Hold gradients back (`on` False) or exchange them in this backward pass; holds forward and backward."""
        with contextlib.nullcontext() if on else self._accelerator.no_sync(model):
            yield

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass, so that the exchanged gradient is the *sum* of all processes' losses.

        DDP averages over processes; the factor undoes it. The loss must already be divided by global counts.
        """
        self._accelerator.backward(loss * self.size)

    def clip(self, model: nn.Module, max_norm: float) -> Tensor:
        """Clip the global L2 gradient norm and return its value before clipping, equal on all processes."""
        norm = self._accelerator.clip_grad_norm_(model.parameters(), max_norm)
        if norm is None:
            raise EnvironmentFault("gradient norm is not available under this launcher")
        return norm

    def apply(self, optimizer: Any, norm: Tensor) -> bool:
        """Step the optimizer unless the gradient is not finite, and return whether it stepped.

        After the exchange every process holds the same gradient, hence the same norm and the same answer. With a loss
        scaler (fp16) the scaler decides, and lowers its scale when it skips.
        """
        if self._accelerator.scaler is not None:
            optimizer.step()
            return not optimizer.step_was_skipped
        if not bool(norm.isfinite()):
            return False
        optimizer.step()
        return True

    def start_sum(self, values: Tensor) -> PendingSum:
        """Start summing a small host tensor over all processes; wait for it later."""
        total = values.clone()
        work = dist.all_reduce(total, group=self._control, async_op=True) if self._control is not None else None
        return PendingSum(total, work)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a host tensor over all processes, on all of them."""
        return self.start_sum(values).wait()

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of all processes, [sum of n, C] float64, in process order, on all of them.

        Args:
            rows: [n, C] float64; n may differ between processes and be 0.
        """
        if self._control is None:
            return rows
        counts = self.sum(torch.eye(self.size, dtype=torch.int64)[self.rank] * len(rows))
        padded = torch.zeros((int(counts.max()), rows.shape[1]), dtype=torch.float64)
        padded[: len(rows)] = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float64))
        pieces = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(pieces, padded, group=self._control)
        return torch.cat([piece[:count] for piece, count in zip(pieces, counts.tolist(), strict=True)]).numpy()

    def gather_text(self, text: str) -> list[str]:
        """Return the texts of all processes, in process order, on all of them."""
        if self._control is None:
            return [text]
        code_points = np.array([[ord(letter)] for letter in text], dtype=np.float64).reshape(-1, 1)
        marked = np.concatenate((np.full((1, 1), -1.0), code_points))
        texts: list[str] = []
        for value in self.gather_rows(marked)[:, 0]:
            if value < 0:
                texts.append("")
            else:
                texts[-1] += chr(int(value))
        return texts

    def average_buffers(self, model: nn.Module, local_images: int) -> None:
        """Make floating buffers (running statistics) equal everywhere: their mean weighted by images, in one call."""
        if self.size == 1:
            return
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        flat = torch.cat([buffer.reshape(-1).double() for buffer in buffers]) * local_images
        flat = torch.cat((flat, flat.new_tensor([float(local_images)])))
        dist.all_reduce(flat)
        mean = flat[:-1] / flat[-1]
        offset = 0
        for buffer in buffers:
            buffer.copy_(mean[offset : offset + buffer.numel()].view_as(buffer))
            offset += buffer.numel()

    def scaler_state(self) -> dict[str, float]:
        """Return the state of the loss scaler, {} without one."""
        return dict(self._accelerator.scaler.state_dict()) if self._accelerator.scaler is not None else {}

    def restore_scaler(self, state: dict[str, float]) -> None:
        """Put a state of `scaler_state` back."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run a phase that can fail on one process: a user error there stops all, and is spoken once.

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
        raise StoppedByPeer(code, message)

    @contextlib.contextmanager
    def leader_first(self) -> Iterator[None]:
        """Run a block on the leader before the others, so that they find what it prepared (caches, downloads)."""
        if not self.is_leader:
            self.barrier()
        try:
            yield
        finally:
            if self.is_leader:
                self.barrier()

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self._control is not None:
            dist.barrier(group=self._control)

    def common(self, error: UserError) -> UserError:
        """Return an error that every process raises alike, marked so that the leader alone speaks of it."""
        error.already_reported = not self.is_leader
        return error

    def check_equal(self, what: str, value: str) -> None:
        """Stop all processes when they do not hold the same `value`.

        Raises:
            PeerError: naming `what` and the first process that differs.
        """
        values = self.gather_text(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                shown = f"{values[0][:16]} and {other[:16]}"
                raise self.common(PeerError(f"processes 0 and {rank} differ", what, shown))

    def end(self) -> None:
        """Leave the process group; only after success, because it waits for the others."""
        self._accelerator.end_training()


@contextlib.contextmanager
def spoken_once() -> Iterator[None]:
    """Run what fails alike on every process before they can talk to each other: the first one alone speaks of it."""
    try:
        yield
    except UserError as error:
        error.already_reported = os.environ.get("RANK", "0") != "0"
        raise


class PendingSum:
    """A sum on its way."""

    def __init__(self, total: Tensor, work: Any) -> None:
        self._total, self._work = total, work

    def wait(self) -> Tensor:
        """Return the sum over all processes."""
        if self._work is not None:
            self._work.wait()
        return self._total
