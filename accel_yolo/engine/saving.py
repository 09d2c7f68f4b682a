"""When checkpoints and weight files are written, and how a run is taken up again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from accel_yolo import console
from accel_yolo.config.resolve import COMMAND_LINE, load_config, resume_train
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import Training
from accel_yolo.engine.checkpoint import PREFIX, VALIDATED, CheckpointFolder, read
from accel_yolo.engine.optim import optimizer_tensors, restore_optimizer
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.sharing import Resumed, share_json, share_resumed, share_tensors
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.errors import CheckpointError
from accel_yolo.models.weights import save_weights

LIES_ELSEWHERE = ("data", "weights", "workers")
"""Settings that each machine may have its own of, when a run is resumed."""

AUTO = "auto"
"""`--resume` without a value: the newest run."""


class Checkpoints:
    """Saves and restores one run. The leader writes; every process reads."""

    def __init__(self, run: RunFolder, training: Training, config: TrainConfig, world: World) -> None:
        self._run, self._training, self._config, self._world = run, training, config, world
        self._seconds = 0.0

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
        if not self._run.is_resumed:
            self._run.begin()
            return fresh
        groups, plain, name = self._read()
        state = TrainState.from_json(plain["train"])
        training = self._training
        training.detector.load_state_dict(groups["model"])
        training.ema.detector.load_state_dict(groups["ema"])
        training.ema.updates = plain["ema_updates"]
        restore_optimizer(training.detector, training.optimizer, groups["optimizer"])
        self._world.restore_scaler(plain["scaler"])
        if self._world.is_leader:
            self._run.checkpoints.set_aside_after(name)
        return state

    def _read(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any], str]:
        """Return tensors, state and name of the newest valid checkpoint; the leader reads, all processes get it."""
        groups: dict[str, dict[str, Tensor]] = {}
        plain, name = {}, ""
        with self._world.together():
            if self._world.is_leader:
                found = self._run.checkpoints.newest_valid()
                if found is None:
                    raise CheckpointError("no valid checkpoint", str(self._run.checkpoints.folder), remedy="start anew")
                (groups, plain), name = read(found), found.name
                state = TrainState.from_json(plain["train"])
                if state.stopped or state.epoch >= self._config.epochs:
                    remedy = "nothing is left to do; to train more, start a run from its weights/last.safetensors"
                    raise CheckpointError("the run is finished", str(self._run.path), f"{state.epoch} epochs", remedy)
        shared = {kind: share_tensors(groups.get(kind, {}), self._world) for kind in ("model", "ema", "optimizer")}
        plain, name = share_json([plain, name], self._world)
        return shared, plain, name

    def save(self, state: TrainState) -> TrainState:
        """Save a state before its validation and return it."""
        if self._is_due(state.epoch) and self._world.is_leader:
            training = self._training
            groups: dict[str, dict[str, Tensor]] = {
                "model": training.detector.state_dict(),
                "ema": training.ema.detector.state_dict(),
                "optimizer": optimizer_tensors(training.detector, training.optimizer),
            }
            with self._timed():
                self._run.checkpoints.write(_name(state), groups, self._plain(state))
        return state

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
        if state.is_best or not (self._run.weights / "best.safetensors").exists():
            names.append("best")
        if self._config.save_period > 0 and epoch % self._config.save_period == 0:
            names.append(f"epoch{epoch}")
        training = self._training
        for name in names:
            save_weights(self._run.weights / f"{name}.safetensors", training.ema.detector, training.meta)
        # Last, so that an epoch that counts as validated has its weight files.
        if self._is_due(epoch):
            self._run.checkpoints.rewrite_state(_name(state).removesuffix(VALIDATED), _name(state), self._plain(state))

    def _is_due(self, epoch: int) -> bool:
        return not self._config.nosave or epoch + 1 == self._config.epochs

    def _plain(self, state: TrainState) -> dict[str, Any]:
        return {
            "train": state.to_json(),
            "ema_updates": self._training.ema.updates,
            "scaler": self._world.scaler_state(),
        }


def _name(state: TrainState) -> str:
    done = "" if state.phase == "validate" else VALIDATED
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
