"""When checkpoints and weight files are written, and where all processes stop for a signal."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from torch import Tensor

from accel_yolo import console, waypoints
from accel_yolo.config.save_every import SaveEvery
from accel_yolo.config.schema import TrainConfig
from accel_yolo.engine.build import Training
from accel_yolo.engine.checkpoint import PREFIX, VALIDATED
from accel_yolo.engine.divergence import require_equal_weights
from accel_yolo.engine.failures import how_to_go_on
from accel_yolo.engine.interruption import ASKING, Interruption, StopAsked
from accel_yolo.engine.launched import OURS
from accel_yolo.engine.optim import optimizer_tensors
from accel_yolo.engine.progress import EpochMeter
from accel_yolo.engine.resuming import Opened
from accel_yolo.engine.run_folder import RunFolder
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.weight_files import WeightFiles
from accel_yolo.engine.world import World
from accel_yolo.engine.writer import LONGEST_S, HostCopy, Writer
from accel_yolo.errors import Preempted, UserError
from accel_yolo.shell import program

LAST_WAIT_S = 30.0
"""How long a run that fails waits for the save that is under way."""


class Checkpoints:
    """Saves one run. The leader copies on the step, and its thread writes while training goes on.

    Args:
        run: its folder.
        training: what is saved.
        facts: what checkpoints say of the run besides.
        world: all processes.
        interruption: what may ask for a stop.
    """

    WORDS = len(ASKING) + 2
    """Numbers of `word`."""

    def __init__(
        self,
        run: RunFolder,
        training: Training,
        world: World,
        facts: dict[str, Any] | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        self.run, self.training, self._config, self._world = run, training, training.config, world
        self.interruption, self._facts = interruption or Interruption(world), facts or {}
        self._every = SaveEvery.of(self._config.save_every) or SaveEvery()
        # Half of what a message may take: the others wait for the leader while it waits for the disk.
        self._writer = Writer(run.checkpoints.folder, min(LONGEST_S, world.timeout_s / 2))
        self._weights, self._has_best = WeightFiles(run.weights, training.meta), False
        self._copy, self._copied_step = HostCopy(), -1
        self._groups: dict[str, dict[str, Tensor]] = {}
        self._seconds = 0.0
        self._saved = ""  # name of the newest checkpoint
        self._last_update = 0
        self._saved_at_s, self._has_asked, self._is_asked = time.monotonic(), False, False
        self._has_failed = False

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let what is being saved be saved, whatever ends the run."""
        if kind is None:
            return
        try:
            self._writer.wait(LAST_WAIT_S)
        except UserError as late:
            console.log(f"not saved: {late}")
        except Exception as failure:  # noqa: BLE001 - what ended the run is told, not what comes after it
            console.log(f"not saved: {type(failure).__name__}: {failure}")
        self._tell()

    def begin(self, opened: Opened | None) -> TrainState:
        """Return the state to begin with: that of a checkpoint, loaded, or a fresh one in a folder taken over."""
        if opened is None:
            self.run.begin()
            return TrainState()
        state = opened.load_into(self.training, self._world)
        self._saved, self._last_update = opened.name, state.step
        self._has_best = (self.run.weights / "best.safetensors").exists()
        return state

    def word(self) -> list[int]:
        """Return what this process tells with the next step: signals, that it is time to save, that saving fails."""
        waited_s = time.monotonic() - self._saved_at_s
        due = bool(self._world.is_leader and self._every.seconds and waited_s >= self._every.seconds)
        asks, self._has_asked = due and not self._has_asked, self._has_asked or due
        self._tell()
        return [*self.interruption.word(), int(asks), int(self._writer.must_stop)]

    def hear(self, total: list[int]) -> None:
        """Take in what all processes said; see `after_update`."""
        *signals, asked, failed = total
        self.interruption.hear(signals)
        self._is_asked, self._has_failed = self._is_asked or bool(asked), bool(failed)

    def after_update(self, state: TrainState, meter: EpochMeter) -> None:
        """Save in mid-epoch when it is time to, and stop when that is agreed; all processes alike.

        Called when no gradient is held back. The end of an epoch is left to `save`.

        Raises:
            Preempted: the run stops here.
            EnvironmentFault: nothing could be saved for a long time.
        """
        last, self._last_update = self._last_update, state.step
        steps = self._every.steps
        due = not self._config.nosave and (self._is_asked or (steps > 0 and state.step // steps > last // steps))
        if self._has_failed:
            self._settle()
        if not meter.is_end(state) and (due or self.interruption.agreed is not None):
            self._write(meter.within(state))
            self._stop_if_agreed(state)

    @contextlib.contextmanager
    def stopping(self, state: TrainState) -> Iterator[None]:
        """Run a phase that all processes may agree to leave, which they do when `state` is saved. Raises Preempted."""
        try:
            yield
        except StopAsked:
            self._stop_if_agreed(state)

    def save(self, state: TrainState) -> TrainState:
        """Save a state before its validation and return it. Raises Preempted."""
        waypoints.reach("end of epoch", state.step)
        if self._is_due(state.epoch):
            self._write(state)
        self._stop_if_agreed(state)
        return state

    def finish_epoch(self, state: TrainState) -> None:
        """Save a state after its validation, and the weight files that are due."""
        config, epoch, name = self._config, state.epoch - 1, _name(state)
        is_last = state.epoch == config.epochs or state.stopped
        if config.nosave and not is_last:
            return
        due = self._is_due(epoch) or state.stopped
        self._saved = name if due else self._saved
        if not self._world.is_leader:
            return
        files = ["last"]
        if state.is_best or not self._has_best:
            files.append("best")
        if config.save_period > 0 and epoch % config.save_period == 0:
            files.append(f"epoch{epoch}")
        with self._timed():
            groups, plain = self._host_copy(state), self._plain(state)

            def work() -> None:
                self._weights.write(files, groups["ema"])
                # Last, so that an epoch that counts as validated has its weight files.
                if due:
                    self.run.checkpoints.write(name, groups, plain, source=name.removesuffix(VALIDATED))

            if groups:
                self._has_best = self._has_best or "best" in files
                self._writer.submit(work)

    def complete(self, state: TrainState) -> None:
        """Return when all is saved after the last epoch.

        Raises:
            EnvironmentFault: that cannot be; on all processes.
            Preempted: a signal came after the last agreement of the run; its last words are left to `--resume`.
        """
        self._settle()
        self.interruption.hear(self.interruption.start_word().wait().tolist())
        self._stop_if_agreed(state)

    def seconds(self) -> float:
        """Return the seconds that this process has spent on saving since this was asked last."""
        spent, self._seconds = self._seconds, 0.0
        return spent

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begun

    def _stop_if_agreed(self, state: TrainState) -> None:
        agreed = self.interruption.agreed
        if agreed is None:
            return
        self._write(state)
        self._settle()
        epochs = self._config.epochs
        epoch = min(state.epoch + 1, epochs)  # all of them may be done
        where = f"epoch {epoch} of {epochs} after step {state.step} (update {state.updates})"
        # The leader sees the checkpoints; another machine's disk may hold none, and its word may come first.
        remedy = self._world.share_text(how_to_continue(self.run, self._config, self._world))
        raise self._world.common(Preempted(agreed.name, where, remedy))

    def _write(self, state: TrainState) -> None:
        """Start saving a state, unless it is saved; all processes take part."""
        name = _name(state)
        if self._saved == name:
            return
        waypoints.reach("saving", state.step)
        self._saved, self._saved_at_s = name, time.monotonic()
        self._has_asked = self._is_asked = False
        require_equal_weights(self.training, self._world, state.step)
        if self._world.is_leader:
            with self._timed():
                groups, plain = self._host_copy(state), self._plain(state)

                def work() -> None:
                    self._weights.write()  # a checkpoint speaks of the best epoch: that has its file before
                    self.run.checkpoints.write(name, groups, plain)

                if groups:
                    self._writer.submit(work)

    def _host_copy(self, state: TrainState) -> dict[str, dict[str, Tensor]]:
        """Return copies of all tensors; what the copies before were for is written by then.

        Where the disk does not take that in time, they are {}: nothing is saved, and all stop with the next word.
        """
        if self._copied_step != state.step:
            if not self._writer.is_idle_within():
                return {}
            waypoints.fail_at("save copy")
            training = self.training
            self._groups = self._copy.of(
                {
                    "model": training.detector.state_dict(),
                    "ema": training.ema.detector.state_dict(),
                    "optimizer": optimizer_tensors(training.detector, training.optimizer),
                }
            )
            self._copied_step = state.step
        return self._groups

    def _settle(self) -> None:
        """Return when what was begun is saved. Raises EnvironmentFault on all processes if it cannot be."""
        with self._world.together(), self._timed():
            if self._world.is_leader:
                self._tell()
                self._writer.settle()
                self.run.results.complete()

    def _tell(self) -> None:
        for message in self._writer.news():
            console.warn(f"{message}; training goes on and saves again later")

    def _is_due(self, epoch: int) -> bool:
        if epoch + 1 == self._config.epochs:
            return True
        return not self._config.nosave and (epoch + 1) % max(self._every.epochs, 1) == 0

    def _plain(self, state: TrainState) -> dict[str, Any]:
        return {
            **self._facts,
            "train": state.to_json(),
            "ema_updates": self.training.ema.updates,
            "scaler": self._world.scaler_state(),
        }


def _name(state: TrainState) -> str:
    done = VALIDATED if state.phase == "train" and not state.position else ""
    return f"{PREFIX}{state.step:08d}{done}"


def how_to_continue(run: RunFolder, config: TrainConfig, world: World) -> str:
    """Return how a run goes on on as many processes: the whole command where this program starts them all."""
    if world.launcher not in ("", OURS) or world.machines > 1:
        return how_to_go_on(run.path)
    words = [program(), "train", "--resume", str(run.path)]
    if config.device:
        words += ["--device", config.device]
    if world.launcher == OURS and "," not in config.device:
        words += ["--processes", str(world.size)]
    if config.augment_with:  # code of the user's, which no file of a run may bring in
        words += ["--augment-with", config.augment_with]
    return f"continue with: {words[0]} {shlex.join(words[1:])}"
