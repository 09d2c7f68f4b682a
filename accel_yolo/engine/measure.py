"""What one world measures for the scaling report: the times of its steps, links, evaluation and serial work."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import torch.distributed as dist

from accel_yolo import console
from accel_yolo.config.launch_schema import LaunchConfig, ProfileConfig
from accel_yolo.config.schema import Hyp, TrainConfig
from accel_yolo.data.room import usable_cores
from accel_yolo.engine.build import Training, open_data
from accel_yolo.engine.evaluate import evaluate
from accel_yolo.engine.faults import named_faults
from accel_yolo.engine.memory import Memory
from accel_yolo.engine.optim import optimizer_tensors, restore_optimizer
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.saving import Checkpoints
from accel_yolo.engine.sharing import share_tensors
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.stepping import Stepper, of_slowest
from accel_yolo.engine.tuning import tuning_of
from accel_yolo.engine.world import World
from accel_yolo.files import make_folder
from accel_yolo.reports.advice import Tuning
from accel_yolo.reports.scaling import Measured
from accel_yolo.version import __version__

REPEATS = 5
"""How often a sum over processes is timed; an evaluation takes turns with nothing and is timed twice."""

VAL_IMAGES_EACH = 128
"""Images of the evaluation for each process of the largest world, at most; smaller worlds evaluate the same ones."""

_NEXT_TO_NOTHING = 1e-6


@dataclass(frozen=True)
class WorldReport:
    """What a world says after measuring, on its leader.

    Attributes:
        measured: its numbers.
        tuning: where its steps go, and what advice is made from.
        images, val_images: images of the data set.
        subject: what was trained on what, one line.
    """

    measured: Measured
    tuning: Tuning
    images: int
    val_images: int
    subject: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**self.__dict__, "measured": self.measured.to_json(), "tuning": self.tuning.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WorldReport:
        """Return what `to_json` described."""
        parts = {"measured": Measured.from_json(data["measured"]), "tuning": Tuning.from_json(data["tuning"])}
        return cls(**{**data, **parts})


def measure(config: ProfileConfig, folder: Path) -> WorldReport | None:
    """Measure in the world that this process belongs to; return the report on its leader, None elsewhere.

    Args:
        config: what to measure.
        folder: where checkpoints are written to time that; they are removed.

    Raises:
        UserError: bad data or settings, or too little memory.
    """
    world = World.connect(config.device, LaunchConfig(interface=config.interface))
    world.compute_in(config.precision)
    console.quiet()
    if world.device.type == "cpu":
        # The same for every world, or what one process computes would depend on how many there are.
        torch.set_num_threads(threads_of_each(config))
    training = training_config(config, world.size)
    with named_faults(
        f"--batch-per-process {config.batch_per_process} at --imgsz {config.imgsz}", training.batch, world
    ):
        report = _measured(config, training, world, folder)
    world.end()
    return report if world.is_leader else None


def threads_of_each(config: ProfileConfig) -> int:
    """Return the threads of a process on the CPU: the largest world just fills the cores."""
    return max(usable_cores() // max(config.processes), 1)


def training_config(config: ProfileConfig, processes: int) -> TrainConfig:
    """Return the training that is measured: from scratch, each step an update, too slow a learner to go wrong."""
    batch = config.batch_per_process * processes
    return TrainConfig(
        weights="",
        cfg=config.cfg,
        data=(config.data,),
        imgsz=config.imgsz,
        batch=batch,
        nominal_batch=batch,
        epochs=1,
        noautoanchor=True,
        workers=config.workers,
        device=config.device,
        sync_bn=config.sync_bn,
        bn_group=config.bn_group,
        decode_once=config.decode_once,
        compile=config.compile,
        cuda_graphs=config.cuda_graphs,
        cache=config.cache,
        cache_dir=config.cache_dir,
        hyp=Hyp(lr0=_NEXT_TO_NOTHING, warmup_epochs=0),
    )


def _measured(config: ProfileConfig, training: TrainConfig, world: World, folder: Path) -> WorldReport:
    data = open_data(training, world)  # once before it is timed: this may verify every image
    index_s = _index(training, world)
    most_val_images = VAL_IMAGES_EACH * max(config.processes)
    stepper = Stepper(training, data, world, config.steps, most_val_images)
    steps = stepper.times()
    val_s, merge_s = _evaluation(stepper)
    memory = Memory.of(world.device)
    checkpoint_s = _checkpoint(stepper, folder)
    control_s, allreduce_s, latency_s = _sums(stepper)
    rows = world.gather_rows(np.array([[memory.tensors_bytes, memory.reserved_bytes]]))
    measured = Measured(
        processes=world.size,
        device=_device_name(world),
        batch_per_process=config.batch_per_process,
        **steps.__dict__,
        control_s=control_s,
        traffic_bytes=_traffic_bytes(stepper),
        allreduce_s=allreduce_s,
        latency_s=latency_s,
        index_s=index_s,
        checkpoint_s=checkpoint_s,
        merge_s=merge_s,
        val_s=val_s,
        val_images=len(stepper.val_loader.index),
        memory_bytes=tuple(int(value) for value in rows[:, 0]),
        reserved_bytes=tuple(int(value) for value in rows[:, 1]),
    )
    tuning = tuning_of(stepper, val_s, len(data.val))
    return WorldReport(measured, tuning, len(data.train), len(data.val), _subject(config, world))


def _index(training: TrainConfig, world: World) -> float:
    """Return the seconds of opening the data set, less those of the messages that go with it."""

    def messages() -> None:
        with world.together(), world.one_per_machine_first():
            pass
        for _ in range(3):  # class names and two splits
            world.gather_text("0" * 64)

    rounds = [[_seconds(lambda: open_data(training, world)), _seconds(messages)] for _ in range(3)]
    opening_s, messages_s = _median(world, rounds)
    return max(opening_s - messages_s, 0.0)


def _median(world: World, rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return for each of some times the median over rounds of the slowest process.

    Args:
        world: all processes take part.
        rounds: [rounds][times] seconds on this process.
    """
    return np.median(of_slowest(world, rounds), 0).tolist()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _subject(config: ProfileConfig, world: World) -> str:
    kind = " with BatchNorm over all processes" if config.sync_bn else ""
    kind = f" with BatchNorm over groups of {config.bn_group}" if config.bn_group else kind
    threads = torch.get_num_threads()
    cpu = "one CPU thread" if threads == 1 else f"{threads} CPU threads"
    where = f"{_device_name(world)}, {world.precision}, {cpu} each"
    versions = f"accel_yolo {__version__}, torch {torch.__version__}, accelerate {accelerate.__version__}"
    data = Path(config.data).stem
    return f"{Path(config.cfg).stem}{kind}, {config.imgsz} px, images of {data}; {where}; {versions}"


def _device_name(world: World) -> str:
    return torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else world.device.type.upper()


def _evaluation(stepper: Stepper) -> tuple[float, float]:
    """Return the seconds of an evaluation and of the merging at its end."""
    loader, training, world = stepper.val_loader, stepper.training, stepper.world
    rounds = []
    for _ in range(3):
        started = stepper.now_together()
        merge_s = evaluate(training.ema.detector, loader, training.evaluation, world).merge_s
        # Who ends first waits for the others; the shortest of these times is what merging alone takes.
        rounds.append([stepper.now() - started, -merge_s])
    val_s, minus_merge_s = _median(world, rounds[1:])  # the first started the workers
    return val_s, -minus_merge_s


def _checkpoint(stepper: Stepper, folder: Path) -> float:
    """Return the seconds in which the leader writes the checkpoints and weight files of an epoch."""
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix=".checkpoint-", dir=folder) as scratch:
        training, world = stepper.training, stepper.world
        _make_equal(training, world)
        run = RunFolder(Path(scratch), world, (training.config, {}))
        checkpoints = Checkpoints(run, training, world)
        started = stepper.now_together()
        state = checkpoints.save(TrainState(step=1).to_validate((0.0, 0.0, 0.0)))
        state = state.after_epoch(0.0, patience=0)
        checkpoints.finish_epoch(state)
        checkpoints.complete(state)
        return _median(world, [[time.perf_counter() - started]])[0]


def _make_equal(training: Training, world: World) -> None:
    """Give all processes the state of the leader: steps without an exchange have left them apart, as no training is."""
    detector, average = training.detector, training.ema.detector
    moments = optimizer_tensors(detector, training.optimizer)
    for module in (detector, average):
        module.load_state_dict(share_tensors(module.state_dict(), world))
    restore_optimizer(detector, training.optimizer, share_tensors(moments, world))


def _sums(stepper: Stepper) -> tuple[float, float, float]:
    """Return the seconds of a control word, of a sum of the gradient's size, and of one of 8 bytes."""
    world = stepper.world
    levels = len(stepper.training.detector.strides)
    word = torch.zeros(levels + 3 + Checkpoints.WORDS, dtype=torch.int64)
    control_s = _repeated(stepper, lambda: world.sum(word))
    if world.size == 1:
        return control_s, 0.0, 0.0
    gradient = torch.zeros(_traffic_bytes(stepper) // 4, device=world.device)
    small = torch.zeros(2, device=world.device)
    allreduce_s, latency_s = (_repeated(stepper, lambda t=t: dist.all_reduce(t)) for t in (gradient, small))
    return control_s, allreduce_s, latency_s


def _repeated(stepper: Stepper, work: Callable[[], object]) -> float:
    work()
    rounds = []
    for _ in range(REPEATS):
        started = stepper.now_together()
        work()
        rounds.append([stepper.now() - started])
    return _median(stepper.world, rounds)[0]


def _traffic_bytes(stepper: Stepper) -> int:
    detector = stepper.training.detector
    gradient = sum(parameter.numel() * 4 for parameter in detector.parameters() if parameter.requires_grad)
    # Statistics travel in float64: see `World.average_buffers`.
    statistics = sum(buffer.numel() * 8 for buffer in detector.buffers() if buffer.is_floating_point())
    return gradient + statistics
