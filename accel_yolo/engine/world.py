"""World: the processes of a run, their device and precision, and the gradients and statistics they exchange."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import DDPCommunicationHookType, DistributedDataParallelKwargs, patch_environment
from torch import Tensor, nn

from accel_yolo import console, waypoints
from accel_yolo.config.launch_schema import LaunchConfig
from accel_yolo.engine import stacks
from accel_yolo.engine.comparison import Fact, require_equal
from accel_yolo.engine.device import choose_device, choose_precision
from accel_yolo.engine.failures import keep_place
from accel_yolo.engine.heartbeat import Heartbeat
from accel_yolo.engine.launched import OURS, Launched, adopt_launch
from accel_yolo.engine.messages import Messages
from accel_yolo.engine.network import await_machine_zero, await_name, require_free_port, settle_interface
from accel_yolo.engine.skips import Skips
from accel_yolo.engine.stores import client_of, with_prefix
from accel_yolo.errors import ConfigError, EnvironmentFault, PeerError, UserError

HOSTED_BY_LAUNCHER = (OURS, "torchrun", "accelerate")
"""Launchers that open the meeting point before they start a process; elsewhere the first process opens it."""


class World(Messages):
    """All processes of a run, seen from one of them. Code outside `engine` never asks for a rank."""

    def __init__(self, launched: Launched, device: torch.device, timeout_s: float) -> None:
        super().__init__(launched, socket.gethostname(), timeout_s)
        self.device = device
        self.precision = "fp32"
        self.skips = Skips(device)
        self.gradient_norms: Tensor | None = None  # [P] of the last update, see `clip`
        self.equal_at_step: int | None = None  # where `require_equal_weights` last found all processes equal
        self._accelerator: Any = None
        self.heartbeat = Heartbeat(launched, timeout_s) if launched.size > 1 else None

    @classmethod
    def start(
        cls, device: str = "", precision: str = "auto", launch: LaunchConfig | None = None, intent: str = ""
    ) -> World:
        """Return the world of this process, ready to compute: `connect` and `compute_in`."""
        world = cls.connect(device, launch, intent)
        world.compute_in(precision)
        return world

    @classmethod
    def connect(cls, device: str = "", launch: LaunchConfig | None = None, intent: str = "") -> World:
        """Return the world of this process; every way of starting ends here.

        Args:
            device: "", "cpu", "mps" or CUDA indices.
            launch: interface and timeouts.
            intent: what decides which messages follow, such as "train --resume"; it must be the same everywhere.

        Raises:
            ConfigError: device and launcher contradict each other.
            EnvironmentFault: the launcher started processes that cannot see each other.
            PeerError: the other machines did not answer, or were started for something else.
        """
        launch = launch or LaunchConfig()
        with spoken_once():
            launched = adopt_launch()
            waypoints.begin(launched.rank)
            keep_place(launched.rank)
            stacks.answer_signal()
            on_cpu = choose_device(device)
            if launched.machines > 1:
                await_name(os.environ["MASTER_ADDR"], launch.connect_timeout)
            settle_interface(launched, launch.interface)
            _meet(launched, launch.connect_timeout)
            state = _process_state(launched, on_cpu, launch.collective_timeout)
            if state.num_processes != launched.size:
                what = f"the launcher started {launched.size} processes but they found {state.num_processes}"
                remedy = "use one of accelerate_configs/*.yaml with `accelerate launch --config_file`"
                raise EnvironmentFault(what, "start of the run", remedy=remedy)
        world = cls(launched, state.device or torch.device("cpu"), launch.collective_timeout)
        if not world.is_leader:
            console.quiet()
        intent += " --no-preflight" if launch.no_preflight else ""
        remedy = "start the same on all machines, --resume and --no-preflight included"
        require_equal(world, [Fact("the command that was started", intent, remedy, "command")])
        return world

    def compute_in(self, precision: str, compression: str = "none") -> None:
        """Choose the precision of the forward pass and the type in which gradients are exchanged.

        Args:
            precision: "auto", "fp32", "fp16" or "bf16".
            compression: "none", "bf16" or "fp16".

        Raises:
            ConfigError: the device or the Accelerate config contradicts it.
        """
        with spoken_once():
            self.precision = choose_precision(precision, self.device.type == "cpu")
        hook = DDPCommunicationHookType.NO if compression == "none" else DDPCommunicationHookType(compression)
        handlers: list[Any] = [DistributedDataParallelKwargs(gradient_as_bucket_view=True, comm_hook=hook)]
        self._accelerator = Accelerator(
            cpu=self.device.type == "cpu",
            mixed_precision="no" if self.precision == "fp32" else self.precision,
            kwargs_handlers=handlers,
        )

    def require_bit_exactness(self) -> None:
        """Make this process compute the same bits as any other: one thread, deterministic kernels.

        Raises:
            ConfigError: device or precision do not allow it.
        """
        with spoken_once():
            if self.device.type != "cpu":
                raise ConfigError("--bit-exact works on the CPU only", "--device", self.device, "add --device cpu")
            if self.precision != "fp32":
                raise ConfigError("--bit-exact works in fp32 only", "--precision", self.precision, "leave it out")
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        # By default torch then also fills all new memory, though everything is written before it is read.
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]

    def describe(self) -> str:
        """Return one line: processes, device and precision."""
        processes = "1 process" if self.size == 1 else f"{self.size} processes"
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        machines = f" on {self.machines} machines" if self.machines > 1 else ""
        threads = f"{torch.get_num_threads()} threads each"
        return f"{processes}{machines} on {name}, {self.precision}, {threads}"

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, exchange: bool) -> tuple[nn.Module, Any]:
        """Return model and optimizer ready for this world (autocast, loss scaler).

        Args:
            model: detector and loss.
            optimizer: over its parameters.
            exchange: wrap the model in DDP, which exchanges gradients during the backward pass.
        """
        # Accelerate would tell DDP the local rank as the device; where each process sees one GPU, there is no such one.
        with patch_environment(ACCELERATE_BYPASS_DEVICE_MAP="true"):
            prepared = self._accelerator.prepare_model(model, evaluation_mode=not exchange)
        # Buffers are averaged at updates instead (see `average_buffers`): DDP must neither copy nor wait for them.
        # The attribute is set after construction because the keyword also skips the first, wanted, synchronisation.
        for name in ("forward_sync_buffers", "broadcast_buffers"):
            if prepared is not model and hasattr(prepared, name):
                setattr(prepared, name, False)
                break
        return prepared, self._accelerator.prepare_optimizer(optimizer)

    @contextlib.contextmanager
    def gradient_sync(self, model: nn.Module, *, on: bool) -> Iterator[None]:
        """Hold gradients back (`on` False) or exchange them in this backward pass; holds forward and backward."""
        with contextlib.nullcontext() if on else self._accelerator.no_sync(model):
            yield

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass, scaled where the precision asks for it."""
        self._accelerator.backward(loss)

    def clip(self, model: nn.Module, max_norm: float) -> Tensor:
        """Clip the global L2 gradient norm and return its value before clipping, equal on all processes.

        The norms of the single gradients, which it is computed from, are kept as `gradient_norms`.
        """
        waypoints.reach("update")
        self._accelerator.unscale_gradients()
        learning = [parameter for parameter in model.parameters() if parameter.grad is not None]
        with torch.no_grad():
            norms = torch._foreach_norm([each.grad for each in learning])  # pyright: ignore
            self.gradient_norms = torch.stack(norms)
            norm = torch.linalg.vector_norm(self.gradient_norms)
        nn.utils.clip_grads_with_norm_(learning, max_norm, norm)
        return norm

    def apply(self, optimizer: Any, norm: Tensor) -> bool | Tensor:
        """Step the optimizer unless the gradient is not finite, and return whether it stepped.

        After the exchange every process holds the same gradient, hence the same norm and the same answer. With a loss
        scaler (fp16) the scaler decides, and lowers its scale when it skips. On a GPU the device decides while the
        host goes on: the answer is then bool [] on the device, and `skips` counts there.
        """
        if self._accelerator.scaler is not None:
            optimizer.step()
            return not optimizer.step_was_skipped
        finite = norm.isfinite()
        if self.skips.on_device:
            self.skips.count(finite)
            optimizer.optimizer.found_inf = (~finite).float()  # fused optimizers leave everything as it is then
            optimizer.step()
            return finite
        if not bool(finite):
            return False
        optimizer.step()
        return True

    def average_buffers(self, model: nn.Module, local_images: int) -> None:
        """Make floating buffers (running statistics) equal everywhere: their mean weighted by images, in one call."""
        if self.size == 1:
            return
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        flat = torch.cat([buffer.reshape(-1) for buffer in buffers]).double() * local_images
        flat = torch.cat((flat, flat.new_full((1,), local_images)))
        dist.all_reduce(flat)
        pieces = (flat[:-1] / flat[-1]).split([buffer.numel() for buffer in buffers])
        means = [piece.view_as(buffer) for piece, buffer in zip(pieces, buffers, strict=True)]
        torch._foreach_copy_(buffers, means)  # pyright: ignore[reportPrivateImportUsage]

    def count_skips(self, in_a_row: int, skipped: int = 0) -> None:
        """Begin to count skipped updates anew; see `Skips`."""
        self.skips = Skips(self.device, in_a_row, skipped, by_scaler=self._accelerator.scaler is not None)

    def scaler_state(self) -> dict[str, float]:
        """Return the state of the loss scaler, {} without one."""
        return dict(self._accelerator.scaler.state_dict()) if self._accelerator.scaler is not None else {}

    def restore_scaler(self, state: dict[str, float]) -> None:
        """Put a state of `scaler_state` back."""
        if state and self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state)

    def end(self) -> None:
        """Leave the process group; only after success, because it waits for the others."""
        self._accelerator.end_training()
        if self.heartbeat is not None:
            self.heartbeat.end()


@contextlib.contextmanager
def spoken_once() -> Iterator[None]:
    """Run what fails alike on all processes of a machine before they can talk: the first one there speaks of it."""
    try:
        yield
    except UserError as error:
        console.leave_to_first(error)
        raise


def _meet(launched: Launched, timeout_s: float) -> None:
    """Make sure that the meeting point can be opened (first process) or reached (the others)."""
    if launched.size == 1 or launched.launcher in HOSTED_BY_LAUNCHER:
        return
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if launched.rank == 0:
        require_free_port(address, port, "MASTER_PORT")
    else:
        await_machine_zero(address, port, timeout_s)


def _place_of_start(launched: Launched, timeout_s: float) -> dict[str, Any]:
    """Return where the processes meet, for torch: under our own launcher, each start of a run has keys of its own.

    Its store outlives a start: what the processes of an earlier one left there must not be taken for news.
    """
    if launched.launcher != OURS:
        return {}
    store = client_of(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout_s)
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return {"store": with_prefix(f"start-{start}/", store), "rank": launched.rank, "world_size": launched.size}


def _process_state(launched: Launched, on_cpu: bool, timeout_s: float) -> PartialState:
    """Return Accelerate's view of the processes after they have met."""
    if launched.size == 1:
        return PartialState(cpu=on_cpu)
    backend = "gloo" if on_cpu else "nccl"
    try:
        timeout = datetime.timedelta(seconds=timeout_s)
        place = _place_of_start(launched, timeout_s)
        return PartialState(cpu=on_cpu, backend=backend, timeout=timeout, **place)
    except (dist.DistError, RuntimeError) as error:
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        remedy = "start all processes, and look at what the others say"
        raise PeerError(f"the {launched.size} processes did not meet", place, first_line, remedy) from error
