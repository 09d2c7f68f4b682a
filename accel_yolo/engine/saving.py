"""When checkpoints and weight files are written, and how a run is taken up again."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from accel_yolo import console, waypoints
from accel_yolo.config.resolve import COMMAND_LINE, load_config, resume_train
from accel_yolo.config.save_every import SaveEvery
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import Training
from accel_yolo.engine.checkpoint import PREFIX, VALIDATED, CheckpointFolder, read
from accel_yolo.engine.interruption import ASKING, Interruption, StopAsked
from accel_yolo.engine.optim import optimizer_tensors, restore_optimizer
from accel_yolo.engine.progress import EpochMeter
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.sharing import Resumed, share_json, share_resumed, share_tensors
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.errors import CheckpointError, Preempted
from accel_yolo.models.weights import save_weights
from accel_yolo.shell import program

LIES_ELSEWHERE = ("data", "weights", "workers")
"""Settings that each machine may have its own of, when a run is resumed."""

AUTO = "auto"
"""`--resume` without a value: the newest run."""


class Checkpoints:
    """Saves and restores one run. The leader writes; every process reads.

    Args:
        run: its folder.
        training: what is saved.
        config: of the run.
        world: all processes.
        interruption: what may ask for a stop.
    """

    WORDS = len(ASKING) + 1
    """Numbers of `word`."""

    def __init__(
        self,
        run: RunFolder,
        training: Training,
        config: TrainConfig,
        world: World,
        interruption: Interruption | None = None,
    ) -> None:
        self.run, self.training, self._config, self._world = run, training, config, world
        self.interruption = interruption or Interruption(world)
        self._every = SaveEvery.of(config.save_every) or SaveEvery()
        self._seconds = 0.0
        self._saved = ""  # name of the newest checkpoint
        self._last_update = 0
        self._saved_at_s, self._has_asked, self._is_asked = time.monotonic(), False, False

    def word(self) -> list[int]:
        """Return what this process tells the others with the next step: signals, and that it is time to save."""
        waited_s = time.monotonic() - self._saved_at_s
        due = bool(self._world.is_leader and self._every.seconds and waited_s >= self._every.seconds)
        asks, self._has_asked = due and not self._has_asked, self._has_asked or due
        return [*self.interruption.word(), int(asks)]

    def hear(self, total: list[int]) -> None:
        """Take in what all processes said; see `after_update`."""
        *signals, asked = total
        self.interruption.hear(signals)
        self._is_asked = self._is_asked or bool(asked)

    def after_update(self, state: TrainState, meter: EpochMeter) -> None:
        """Save in mid-epoch when it is time to, and stop when that is agreed; all processes alike.

        Called when no gradient is held back. The end of an epoch is left to `save`.

        Raises:
            Preempted: the run stops here.
        """
        last, self._last_update = self._last_update, state.step
        steps = self._every.steps
        due = self._is_asked or (steps > 0 and state.step // steps > last // steps)
        is_end = meter.is_end(state)
        if self.interruption.agreed is None and (is_end or not due or self._config.nosave):
            return
        if not is_end:
            self._write(meter.within(state))
            self._stop_if_agreed(state)

    @contextlib.contextmanager
    def stopping(self, state: TrainState) -> Iterator[None]:
        """Run a phase that all processes may agree to leave, which they do when `state` is saved. Raises Preempted."""
        try:
            yield
        except StopAsked:
            self._stop_if_agreed(state)

    def _stop_if_agreed(self, state: TrainState) -> None:
        agreed = self.interruption.agreed
        if agreed is None:
            return
        self._write(state)
        epoch = f"epoch {state.epoch + 1} of {self._config.epochs}"
        where = f"{epoch} after step {state.step} (update {state.updates})"
        raise self._world.common(
            Preempted(agreed.name, where, resume_command(self.run.path, self._config, self._world))
        )

    def seconds(self) -> float:
        """Return the seconds that this process has spent on saving since this was asked last."""
        spent, self._seconds = self._seconds, 0.0
        return spent

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begun

    def restore_or(self, fresh: TrainState) -> TrainState:
        """Return the state of the newest valid checkpoint of a resumed run, loaded; `fresh` for a new run.

        Raises:
            CheckpointError: no checkpoint is valid, or the run is finished.
        """
        if not self.run.is_resumed:
            self.run.begin()
            return fresh
        groups, plain, name = self._read()
        state = TrainState.from_json(plain["train"])
        training = self.training
        training.detector.load_state_dict(groups["model"])
        training.ema.detector.load_state_dict(groups["ema"])
        training.ema.updates = plain["ema_updates"]
        restore_optimizer(training.detector, training.optimizer, groups["optimizer"])
        self._world.restore_scaler(plain["scaler"])
        self._saved, self._last_update = name, state.step
        if self._world.is_leader:
            self.run.checkpoints.set_aside_after(name)
        return state

    def _read(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any], str]:
        """Return tensors, state and name of the newest valid checkpoint; the leader reads, all processes get it."""
        groups: dict[str, dict[str, Tensor]] = {}
        plain, name = {}, ""
        with self._world.together():
            if self._world.is_leader:
                found = self.run.checkpoints.newest_valid()
                if found is None:
                    raise CheckpointError("no valid checkpoint", str(self.run.checkpoints.folder), remedy="start anew")
                (groups, plain), name = read(found), found.name
                state = TrainState.from_json(plain["train"])
                if state.stopped or state.epoch >= self._config.epochs:
                    remedy = "nothing is left to do; to train more, start a run from its weights/last.safetensors"
                    raise CheckpointError("the run is finished", str(self.run.path), f"{state.epoch} epochs", remedy)
        shared = {kind: share_tensors(groups.get(kind, {}), self._world) for kind in ("model", "ema", "optimizer")}
        plain, name = share_json([plain, name], self._world)
        return shared, plain, name

    def save(self, state: TrainState) -> TrainState:
        """Save a state before its validation and return it. Raises Preempted."""
        if self._is_due(state.epoch):
            self._write(state)
        self._stop_if_agreed(state)
        return state

    def _write(self, state: TrainState) -> None:
        if self._saved == _name(state):
            return
        waypoints.reach("saving", state.step)
        self._saved, self._saved_at_s = _name(state), time.monotonic()
        self._has_asked = self._is_asked = False
        if self._world.is_leader:
            training = self.training
            groups: dict[str, dict[str, Tensor]] = {
                "model": training.detector.state_dict(),
                "ema": training.ema.detector.state_dict(),
                "optimizer": optimizer_tensors(training.detector, training.optimizer),
            }
            with self._timed():
                self.run.checkpoints.write(_name(state), groups, self._plain(state))

    def finish_epoch(self, state: TrainState) -> None:
        """Save a state after its validation, and the weight files that are due."""
        with self._timed():
            self._finish_epoch(state)

    def _finish_epoch(self, state: TrainState) -> None:
        epoch = state.epoch - 1
        is_last = state.epoch == self._config.epochs or state.stopped
        if not (self._is_due(epoch) or is_last) or not self._world.is_leader:
            return
        names = ["last"]
        if state.is_best or not (self.run.weights / "best.safetensors").exists():
            names.append("best")
        if self._config.save_period > 0 and epoch % self._config.save_period == 0:
            names.append(f"epoch{epoch}")
        training = self.training
        for name in names:
            save_weights(self.run.weights / f"{name}.safetensors", training.ema.detector, training.meta)
        # Last, so that an epoch that counts as validated has its weight files.
        if self._is_due(epoch):
            self._saved = _name(state)
            self.run.checkpoints.rewrite_state(_name(state).removesuffix(VALIDATED), _name(state), self._plain(state))

    def _is_due(self, epoch: int) -> bool:
        if epoch + 1 == self._config.epochs:
            return True
        return not self._config.nosave and (epoch + 1) % max(self._every.epochs, 1) == 0

    def _plain(self, state: TrainState) -> dict[str, Any]:
        return {
            "train": state.to_json(),
            "ema_updates": self.training.ema.updates,
            "scaler": self._world.scaler_state(),
        }


def _name(state: TrainState) -> str:
    done = VALIDATED if state.phase == "train" and not state.position else ""
    return f"{PREFIX}{state.step:08d}{done}"


def find_resumed(config: TrainConfig, origins: dict[str, str], world: World) -> Resumed:
    """Return the run folder that `--resume` names (None without it), with its configuration and origins.

    The leader looks; the run need not be on the disks of the other machines. Devices are those of this command line:
    a run continues on any number of processes.

    Raises:
        CheckpointError: there is no such run, it holds no checkpoint, or it is finished.
        ConfigError: a flag was typed that would change the recipe of the run.
    """
    if not config.resume:
        return None, config, origins
    found: Resumed = (None, config, origins)
    with world.together():
        if world.is_leader:
            found = _found_run(config, origins)
    folder, resumed, origins_of_run = share_resumed(found, world)
    # Where things lie on this machine, its own command line says.
    here = {name: getattr(config, name) for name in LIES_ELSEWHERE if origins.get(name) == COMMAND_LINE}
    return folder, replace(resumed, **here), origins_of_run


def _found_run(config: TrainConfig, origins: dict[str, str]) -> Resumed:
    typed_name = origins.get("name") == COMMAND_LINE
    named = Path(config.project) / config.name if typed_name else None
    wanted = named if config.resume == AUTO else Path(config.resume)
    run = _run_of(wanted) if wanted is not None else _newest_run(Path(config.project))
    saved, asked = load_config(run / "config.yaml"), (config, origins)
    resumed, origins = resume_train(saved, asked)
    console.say(f"Resuming {run}")
    if resumed.device != config.device:
        console.note(f"the run was on --device {resumed.device}; type it again to use the same devices")
    return run, replace(resumed, device=config.device), origins


def _newest_run(project: Path) -> Path:
    runs = [path.parent for path in project.glob("*/checkpoints") if CheckpointFolder(path).names()]
    if not runs:
        raise CheckpointError("no run to resume", str(project), remedy="give its folder: --resume runs/train/exp")
    return max(runs, key=lambda run: (run / "checkpoints").stat().st_mtime_ns)


def _run_of(path: Path) -> Path:
    """Return the run folder of a path inside it: the run itself, a weight file or a checkpoint."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "config.yaml").is_file() and CheckpointFolder(folder / "checkpoints").names():
            return folder
    raise CheckpointError("no checkpoint to resume", str(path), remedy="name a run folder, such as runs/train/exp")


def resume_command(run: Path, config: TrainConfig, world: World) -> str:
    """Return the command that continues a run on as many processes of this machine."""
    words = [program(), "train", "--resume", shlex.quote(str(run))]
    if config.device:
        words += ["--device", config.device]
    if world.launcher == "accel-yolo" and world.machines == 1 and "," not in config.device:
        words += ["--processes", str(world.size)]
    return " ".join(words)
