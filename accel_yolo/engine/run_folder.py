"""The folder of a run: what is in it, and the one table a user watches."""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accel_yolo import console, waypoints
from accel_yolo.config.resolve import SHAPING, load_config, save_config
from accel_yolo.config.schema import TrainConfig
from accel_yolo.config.settings import flag_of, rules_of
from accel_yolo.engine import failures, stacks
from accel_yolo.engine.checkpoint import CheckpointFolder
from accel_yolo.engine.findings import PICTURES, TABLES, WORST, Findings, write_findings
from accel_yolo.engine.record import Record, add_session
from accel_yolo.engine.results_table import ResultsTable
from accel_yolo.engine.rows import EpochRow, StepRow, recorded_end
from accel_yolo.engine.run_lock import RunLock
from accel_yolo.engine.sharing import share_weights
from accel_yolo.engine.state import TrainState
from accel_yolo.engine.world import World
from accel_yolo.files import make_folder, next_run_folder, remove_dead_leftovers, write_text_atomic
from accel_yolo.inference.output.run_pictures import clear_pictures
from accel_yolo.models.weights import load_weights
from accel_yolo.models.weights_meta import Weights
from accel_yolo.reports.events import END, ENVIRONMENT, EPOCH, METRICS, STEP, read_events
from accel_yolo.reports.html.report import REPORT, leave_report

KEPT = ("results.csv", "metrics.json", "config.yaml", METRICS, ENVIRONMENT, REPORT)
"""Files beside the weights that trackers keep."""

Settings = tuple[TrainConfig, dict[str, str]]
"""A configuration and the origin of each value."""


class RunFolder:
    """Writes on the leader, answers on all processes."""

    def __init__(self, path: Path, world: World, settings: Settings, is_resumed: bool = False) -> None:
        self.path, self._world, self._settings, self.is_resumed = path, world, settings, is_resumed
        self.weights = path / "weights"
        self._titled, self.changes = False, {}
        self._lock: RunLock | None = None
        self.checkpoints = CheckpointFolder(path / "checkpoints")
        self.record, self.results = Record(path), ResultsTable(path / "results.csv")
        self._opened_at = time.monotonic()

    @classmethod
    def open(cls, config: TrainConfig, origins: dict[str, str], world: World, resumed: Path | None) -> RunFolder:
        """Return the folder of a run: a new one, or the one that is continued."""
        settings = config, origins
        if resumed is not None:
            run = cls(resumed, world, settings, is_resumed=True)
            run._take()
            if world.is_leader:
                failures.tell_begun()
            run.changes = run._changed()
            run._opened()
            told = [f"{flag_of(name)} from {_typed(had)} to {_typed(has)}" for name, (had, has) in run.changes.items()]
            if told:
                console.note(f"changed with this start: {', '.join(told)}")
            return run
        chosen = ""
        with world.together():
            if world.is_leader:
                chosen = str(next_run_folder(Path(config.project), config.name, config.exist_ok))
        run = cls(Path(world.share_text(chosen)), world, settings)
        run._take()
        # An earlier run keeps its settings until this one begins.
        if world.share_text("" if run.checkpoints.names() else "new"):
            run._save_settings()
        return run._opened()

    def _take(self) -> None:
        """Hold the folder against other runs until `held` ends, on the leader. Raises EnvironmentFault."""
        share = self._world.share_text
        with self._world.together():
            if not self._world.is_leader:
                while share(""):  # the leader may watch a folder for longer than a message may take
                    pass
                return
            try:
                make_folder(self.path)
                self._lock = RunLock.taken(self.path, lambda: share("waiting"))
                atexit.register(self._lock.release)
            finally:
                share("")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Leave the folder to other runs when the block ends, however it ends."""
        try:
            yield
        finally:
            if self._lock is not None:
                self._lock.release()

    @contextlib.contextmanager
    def free_if_it_fails(self) -> Iterator[None]:
        """Leave the folder to other runs at once when the block fails.

        Trackers may then take seconds for their last words, and a launcher ends this process after two.
        """
        try:
            yield
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def begin(self) -> None:
        """Take the folder over from an earlier run (`--exist-ok`): nothing of that may pass for a result of this one.

        Called when data and model have been found good: a typing error costs the earlier run nothing.
        """
        self._save_settings()
        if not self._world.is_leader:
            return
        self.checkpoints.clear()
        self.remove_leftovers()
        clear_pictures(self.path)
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)  # two runs in it would be read as one
        names = ("results.csv", "metrics.json", METRICS, ENVIRONMENT, REPORT, *PICTURES, *TABLES)
        stale = [self.path / name for name in names]
        stale += self.path.glob("nonfinite-*.json")
        for path in (*stale, *(self.weights / f"{name}.safetensors" for name in ("last", "best"))):
            path.unlink(missing_ok=True)
        failures.tell_begun()

    def _changed(self) -> dict[str, list[Any]]:
        """Return what a resumed run has had and has now, by setting, on the leader."""
        if not self._world.is_leader:
            return {}
        before, now = load_config(self.path / "config.yaml")[0], self._settings[0]
        pairs = {name: [getattr(before, name), getattr(now, name)] for name in rules_of(TrainConfig)}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name in SHAPING}

    def remove_leftovers(self) -> None:
        """Remove what processes that were killed have left unfinished."""
        self.checkpoints.remove_leftovers()
        for folder in (self.path, self.weights):
            remove_dead_leftovers(folder)

    def is_concluded(self) -> bool:
        """Return whether the run has come to its last word: its end is recorded, and its report is not older.

        By the clock of the disk, which may be another than that of this machine.
        """
        events, report = read_events(self.path / METRICS), self.path / REPORT
        if not events or events[-1]["event"] != END or not (self.path / "metrics.json").exists():
            return False
        return report.exists() and report.stat().st_mtime_ns >= (self.path / METRICS).stat().st_mtime_ns

    def _save_settings(self) -> None:
        with self._world.together():
            if self._world.is_leader:
                save_config(self.path / "config.yaml", *self._settings)

    def _opened(self) -> RunFolder:
        """Start this process's log file and return self."""
        with self._world.together():
            make_folder(self.path)  # on a disk of its own, another machine keeps its logs here
            if self._world.is_first_here:
                failures.remove_earlier(self.path)
        console.log_to(self.path / ("log.txt" if self._world.is_leader else f"log-{self._world.rank}.txt"))
        console.log(f"command: {' '.join(sys.argv)}")
        failures.write_to(self.path)
        if self._world.size > 1:
            stacks.keep_in(self.path, self._world.rank)
        return self

    def last_weights(self) -> Weights | None:
        """Return the last weights, as the leader reads them; None where there are none."""
        last = self.weights / "last.safetensors"
        if not self._world.share_text("there" if last.exists() else ""):
            return None
        return self.read_weights("last")

    def read_weights(self, name: str) -> Weights:
        """Return the weights `last` or `best` on all processes; the leader reads them.

        Raises:
            CheckpointError: the file is damaged.
        """
        weights = None
        with self._world.together():
            if self._world.is_leader:
                weights = load_weights(self.weights / f"{name}.safetensors")
        return share_weights(weights, self._world)

    def add_session(self, session: Mapping[str, Any], state: TrainState) -> None:
        """Record a start of the run, which goes on from `state`, and what a resumed one has otherwise.

        Called when data and checkpoint have been found good: a start that is refused leaves the settings as they were.
        """
        if self.is_resumed:
            self._save_settings()
        with self._world.together():
            if self._world.is_leader:
                self.record.begin(state.step, state.epoch)
                add_session(self.path, session)
                self.record.announce()

    def add_step(self, row: StepRow) -> None:
        """Record a reading on the log interval."""
        if self._world.is_leader:
            self.record.add(STEP, row.recorded())

    def add_epoch(self, row: EpochRow, state: TrainState) -> None:
        """Append an epoch to `results.csv` and to the record, and print its line of the table.

        Args:
            row: the epoch.
            state: after it.
        """
        if not self._world.is_leader:
            return
        waypoints.reach("results")
        self.results.add(row.epoch, row.values)
        self.record.add(EPOCH, row.recorded(state))
        self._print_epoch(row)

    def add_end(self, state: TrainState, metrics: Mapping[str, Any]) -> None:
        """Record how the run ended; `metrics` is the content of `metrics.json`, of its best weights."""
        if self._world.is_leader:
            self.record.add(END, recorded_end(state, metrics, time.monotonic() - self._opened_at))

    def _print_epoch(self, row: EpochRow) -> None:
        titles = ("epoch", "box", "obj", "cls", "P", "R", "mAP50", "mAP50-95", "time", "data wait")
        widths = (9, 8, 8, 8, 7, 7, 7, 9, 7, 10)
        metrics = [f"{value:.3f}" for value in row.metrics] if row.metrics else ["-"] * 4
        cells = [f"{row.epoch + 1}/{self._settings[0].epochs}", *(f"{loss:.4f}" for loss in row.train), *metrics]
        cells += [f"{row.seconds:.0f} s", f"{row.pace.data_wait:.0%}"]
        if row.epoch % 10 == 0 or not self._titled:
            self._titled = True
            console.say(console.painted("".join(t.rjust(w) for t, w in zip(titles, widths, strict=True)), "bold"))
        line = "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        console.say(line)

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write plain data as JSON, on the leader; every process returns when the file is there."""
        with self._world.together():
            if self._world.is_leader:
                write_text_atomic(self.path / name, json.dumps(data, indent=1) + "\n")

    def write_report(self) -> None:
        """Write `report.html` from what is in the folder, on the leader; the others do not wait."""
        if self._world.is_leader:
            leave_report(self.path)

    def write_findings(self, found: Findings, metrics: dict[str, Any], *, pictures: bool) -> None:
        """Write what an evaluation found, on the leader; the others do not wait."""
        if self._world.is_leader:
            write_findings(self.path, found, metrics, worst=WORST, pictures=pictures)

    def hand_over(self) -> None:
        """Give who follows the run its pictures and what is to be kept of it."""
        self.record.show([path for pattern in ("*.png", "*.jpg") for path in sorted(self.path.glob(pattern))])
        self.record.keep([self.weights / "best.safetensors", *(self.path / name for name in KEPT)])


def _typed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value) or "''"
